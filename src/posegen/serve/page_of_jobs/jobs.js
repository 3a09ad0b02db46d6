"use strict";
// The page of the job server. All it knows of jobs and settings comes from the API; it keeps only what is not yet sent.
if (location.search) history.replaceState(null, "", "/"); // the token is in a cookie now
const $ = (id) => document.getElementById(id);
const { fields, basic, groups, models } = JSON.parse($("settings").textContent);
const FILES = ["reference", "driving_video", "driving_conditions", "pose_file", "normals_file"];
const LOOKED_AT = ["start", "end", "person", "reference_person", "retarget", "camera", "fit", "size", "fps", "model", "hands", "smoothing", "pose", "normals", "prompt"];
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const files = {}; // field -> { id, name }
let preview = null, stream = null, wanted = 0, listed = 20;

const make = (tag, properties = {}, ...children) => {
  const { data, aria, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(data || {})) element.dataset[name] = value;
  for (const [name, value] of Object.entries(aria || {})) element.setAttribute(name === "role" ? name : `aria-${name}`, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};
const words = (name) => name.replaceAll("_", " ");
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const time = (seconds) => seconds === null || seconds === undefined ? "" : seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
const bytes = (count) => count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(count / 1e6))} MB`;

class Refused extends Error { constructor(error) { super(error.message); this.field = error.field; this.code = error.code; } }
async function api(path, options = {}) {
  let response;
  try { response = await fetch(path, options); } catch { throw new Refused({ message: "the server does not answer: is posegen serve running?", field: null, code: "gone" }); }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(body.error || { message: `${response.status} ${response.statusText}`, field: null, code: "http" });
  return body;
}
const post = (path, body) => api(path, body === undefined ? { method: "POST" } : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// -- errors: the server's words, beside the field
function clearErrors() {
  for (const place of document.querySelectorAll("form .bad")) { place.hidden = true; place.textContent = ""; }
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}
function showError(error, focus = false) {
  const place = (error.field && $(`error-${error.field}`)) || $("error-none"), input = error.field && $(error.field);
  place.textContent = error.message;
  place.hidden = false;
  if (!input) return;
  input.setAttribute("aria-invalid", "true");
  const folded = input.closest("details");
  if (folded) folded.open = true;
  if (focus) input.focus();
}
async function trying(work) {
  $("trouble").hidden = true;
  try { return await work(); } catch (error) {
    $("trouble").textContent = error.message;
    $("trouble").hidden = false;
    return null;
  }
}

// -- settings: one control for each field of the API
function control(field) {
  const described = `help-${field.name} error-${field.name}`;
  const help = [make("p", { className: "hint", id: `help-${field.name}`, textContent: field.description }),
    make("p", { className: "bad", id: `error-${field.name}`, hidden: true, aria: { role: "alert" } })];
  let input;
  if (field.kind === "boolean") {
    input = make("input", { type: "checkbox", id: field.name, checked: field.default, aria: { describedby: described } });
    return make("div", { className: "field" }, make("div", { className: "check" }, input, make("label", { htmlFor: field.name, textContent: words(field.name) })), ...help);
  }
  if (field.choices.length) {
    input = make("select", { id: field.name }, ...field.choices.map((choice) => make("option", { value: choice, textContent: choice, selected: choice === field.default })));
  } else if (field.kind === "integer" || field.kind === "number") {
    input = make("input", { type: "number", id: field.name, step: field.kind === "integer" ? 1 : "any", value: field.default ?? "", placeholder: "by default" });
    if (field.limits) Object.assign(input, { min: field.limits[0], max: field.limits[1] });
  } else if (field.kind === "file") {
    input = make("input", { type: "file", id: field.name });
    input.addEventListener("change", () => send(field.name, input.files[0]));
  } else if (field.name.endsWith("prompt")) {
    input = make("textarea", { id: field.name, rows: 2, placeholder: field.name === "prompt" ? "written from the image by default" : "by default the model's" });
  } else {
    input = make("input", { type: "text", id: field.name, value: field.default ?? "", autocomplete: "off", placeholder: "by default" });
  }
  input.setAttribute("aria-describedby", described);
  const unit = field.limits && field.limits[2] ? ` (${field.limits[2]})` : "";
  return make("div", { className: field.name.endsWith("prompt") ? "field wide" : "field" }, make("label", { htmlFor: field.name, textContent: words(field.name) + unit }), input, ...help);
}
function value(field) {
  const input = $(field.name);
  if (!input || field.kind === "file") return null;
  if (field.kind === "boolean") return input.checked === field.default ? null : String(input.checked);
  const text = input.value.trim();
  return text === "" || text === String(field.default ?? "") ? null : input.value;
}
function form(kind) {
  const body = new FormData();
  for (const [name, file] of Object.entries(files)) body.append(name, file.id);
  for (const field of Object.values(fields)) {
    const text = value(field);
    if (text === null) continue;
    if (field.kind === "list") for (const each of text.split(/[\n,]+/)) { if (each.trim()) body.append(field.name, each.trim()); }
    else body.append(field.name, text);
  }
  return { method: "POST", body };
}
function setFields(values) {
  for (const field of Object.values(fields)) {
    const input = $(field.name);
    if (!input || field.kind === "file") continue;
    const given = values[field.name] ?? field.default;
    if (field.kind === "boolean") input.checked = given;
    else input.value = Array.isArray(given) ? given.join(", ") : given ?? "";
  }
}
function keepDraft() {
  const values = {};
  for (const field of Object.values(fields)) { const text = value(field); if (text !== null) values[field.name] = field.kind === "boolean" ? text === "true" : text; }
  localStorage.setItem("draft", JSON.stringify({ files, values }));
}

// -- files: sent once, then named by their id
async function send(name, file) {
  if (!file) return;
  const place = $(`error-${name}`);
  place.hidden = true;
  $(name).removeAttribute("aria-invalid");
  const help = $(`help-${name}`), body = new FormData();
  body.append(name, file);
  help.textContent = `sending ${file.name} …`;
  try {
    const sent = await api("/v1/uploads", { method: "POST", body });
    setFile(name, sent);
    keepDraft();
    look();
  } catch (error) {
    help.textContent = "Choose another file.";
    showError({ ...error, message: error.message, field: name });
  }
}
function setFile(name, sent) {
  files[name] = { id: sent.id, name: sent.name };
  const facts = sent.facts || {}, told = [sent.name];
  if (facts.width) told.push(`${facts.width} × ${facts.height}`);
  if (facts.seconds) told.push(`${facts.seconds.toFixed(1)} s`);
  put($(`help-${name}`), told.join(", "));
  const shown = $(`shown-${name}`);
  if (shown) {
    const src = `/v1/uploads/${sent.id}`;
    shown.replaceChildren(name === "reference" ? make("img", { src, alt: "the reference image" })
      : make("video", { id: "driving-player", src: `${src}#t=0.001`, muted: true, controls: true, playsInline: true, preload: "metadata" }));
  }
  ready();
}
function ready() {
  const both = files.reference && files.driving_video;
  $("go").disabled = !both;
  put($("ready"), both ? "" : "Choose both files first.");
}
for (const drop of document.querySelectorAll(".drop")) {
  const name = drop.dataset.file;
  $(name).addEventListener("change", () => send(name, $(name).files[0]));
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); send(name, event.dataTransfer.files[0]); });
}
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault()); // a file that misses opens nothing

// -- the preview: made anew whenever something that it shows changes
let waiting = null;
function lookSoon() { clearTimeout(waiting); waiting = setTimeout(look, 700); }
async function look() {
  clearTimeout(waiting);
  if (!files.reference || !files.driving_video) return;
  const turn = ++wanted, before = preview;
  $("preview").hidden = false;
  $("looked").hidden = false;
  $("looked").value = 0;
  put($("looking"), "looking at both …");
  clearErrors();
  try {
    const job = await api("/v1/previews", form());
    if (turn !== wanted) { api(`/v1/previews/${job.id}`, { method: "DELETE" }).catch(() => {}); return; }
    preview = job.id;
    localStorage.setItem("preview", preview);
    follow(job.id, turn, before);
  } catch (error) {
    $("preview").hidden = !preview;
    put($("looking"), "");
    $("looked").hidden = true;
    showError(error);
  }
}
function follow(id, turn, before) {
  if (stream) stream.close();
  stream = new EventSource(`/v1/previews/${id}/events`);
  stream.addEventListener("progress", async (event) => {
    if (turn !== wanted) return;
    const job = JSON.parse(event.data);
    $("looked").value = job.progress;
    put($("looking"), job.status === "queued" ? "waiting for another preview …" : job.stage ? `${job.stage} …` : "looking …");
    if (!["completed", "failed", "cancelled"].includes(job.status)) return;
    stream.close();
    $("looked").hidden = true;
    put($("looking"), "");
    if (job.status === "completed") {
      const whole = await trying(() => api(`/v1/previews/${id}`));
      if (whole && turn === wanted) show(whole.findings);
      if (before && before !== id) api(`/v1/previews/${before}`, { method: "DELETE" }).catch(() => {});
    } else if (job.error) showError(job.error);
  });
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED && turn === wanted) put($("looking"), "the preview was lost: change something to look again"); });
}
function show(found) {
  $("findings").hidden = false;
  $("warnings").replaceChildren(...found.warnings.map((line) => make("li", { textContent: line })));
  for (const name of ["driving", "placed", "hands"]) {
    const clip = $(`clip-${name}`);
    clip.src = found.videos[name];
    clip.controls = still;
    if (!still) clip.play().catch(() => {});
  }
  $("several").hidden = found.people.length < 2;
  const focused = document.activeElement && document.activeElement.dataset.person;
  $("people").replaceChildren(...found.people.map((person) => {
    const box = make("div", { className: "box" }), [left, top, right, bottom] = person.box;
    Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    const button = make("button", { type: "button", className: "person", data: { person: person.number }, aria: { pressed: person.followed, label: `person ${person.number}, ${person.place}, in ${person.frames} frames` } },
      make("div", { className: "picture" }, make("img", { src: person.picture, alt: "" }), box, make("span", { className: "number", textContent: person.number })),
      `${person.frames} frames, ${person.place}`);
    button.addEventListener("click", () => choosePerson("person", person.number));
    return button;
  }));
  if (focused) { const again = document.querySelector(`[data-person="${focused}"]`); if (again) again.focus(); }
  const marks = found.reference_people.length < 2 ? [] : found.reference_people.map((person) => {
    const [left, top, right, bottom] = person.box;
    const mark = make("button", { type: "button", className: "mark", aria: { pressed: person.chosen, label: `person ${person.number} of the image` } }, make("span", { textContent: person.number }));
    Object.assign(mark.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    mark.addEventListener("click", () => choosePerson("reference_person", person.number));
    return mark;
  });
  const image = $("shown-reference").querySelector("img");
  $("shown-reference").replaceChildren(...(image ? [image] : []), ...marks);
  const last = found.frames || 1;
  $("segments").replaceChildren(...found.segments.map((segment) => {
    const bar = make("div", { className: `${segment.kind === "base" ? "base" : "other"}${segment.anchor ? " anchor" : ""}${segment.alone ? " alone" : ""}` });
    Object.assign(bar.style, { left: `${(100 * segment.start) / last}%`, width: `${(100 * (segment.stop - segment.start)) / last}%` });
    return bar;
  }));
  put($("plan"), [found.plan, ...found.notes].join("\n"));
  const takes = found.estimated_seconds === null ? "how long it takes is known after the first video with this model" : `takes about ${time(found.estimated_seconds)}`;
  put($("cost"), `${found.width} × ${found.height}, ${found.seconds.toFixed(1)} s at ${found.fps} frames/s, ${found.segments.length} segment${found.segments.length === 1 ? "" : "s"}: ${takes}; needs about ${bytes(found.memory_bytes)} of memory.`);
}
function choosePerson(name, number) {
  $(name).value = String(number);
  keepDraft();
  for (const each of document.querySelectorAll("[data-person]")) if (name === "person") each.setAttribute("aria-pressed", each.dataset.person === String(number));
  look();
}

// -- all videos: each card is made once and then only changed, so that focus and players stay
const cards = new Map();
const VERBS = { pause: ["queued", "in_progress"], resume: ["paused"], cancel: ["queued", "in_progress", "paused"], retry: ["failed", "cancelled"] };
const NAMES = { queued: "waits", in_progress: "in progress", paused: "paused", completed: "done", failed: "failed", cancelled: "cancelled" };
function newCard(job) {
  const part = {};
  part.title = make("h3", {}, (part.status = make("span", { className: "status" })), (part.name = make("span")));
  part.state = make("p", { className: "hint", aria: { role: "status" } });
  part.bar = make("progress", { max: 100, value: 0, aria: { label: "progress of the video" } });
  part.error = make("p", { className: "bad" });
  part.players = make("div", { className: "pair" });
  part.actions = make("div", { className: "line" });
  for (const verb of Object.keys(VERBS)) part.actions.append((part[verb] = button(verb, job.id, () => change(`/v1/videos/${job.id}/${verb}`, {}))));
  part.first = button("next in the queue", job.id, () => moveFirst(job.id));
  part.copy = button("copy settings", job.id, () => copy(job.id));
  part.download = make("a", { className: "button plain", textContent: "download", href: `/v1/videos/${job.id}/content`, download: `${job.id}.mp4` });
  part.remove = button("delete", job.id, () => change(`/v1/videos/${job.id}`, { method: "DELETE" }));
  part.actions.append(part.first, part.download, part.copy, part.remove);
  part.element = make("div", { className: "job", id: job.id, aria: { role: "listitem" } }, part.title, part.state, part.bar, part.error, part.players, part.actions);
  return part;
}
function button(text, id, does) {
  const made = make("button", { type: "button", className: "plain", textContent: text, aria: { label: `${text}: ${id}` } });
  made.addEventListener("click", does);
  return made;
}
async function change(path, options) {
  await trying(() => api(path, { method: "POST", ...options }));
  await refresh();
}
async function moveFirst(id) {
  const queued = [...cards.values()].filter((card) => card.job.status === "queued").sort((a, b) => a.job.queue_place - b.job.queue_place);
  if (queued.length && queued[0].job.id !== id) await trying(() => post(`/v1/videos/${id}/move`, { before: queued[0].job.id }));
  await refresh();
}
function copy(id) {
  const job = cards.get(id).job;
  clearErrors();
  setFields(job.fields);
  for (const [name, sent] of Object.entries(job.files)) setFile(name, sent);
  for (const name of FILES) if (!job.files[name]) delete files[name];
  keepDraft();
  look();
  $("reference").focus();
  scrollTo({ top: 0, behavior: still ? "auto" : "smooth" });
}
function describe(job) {
  if (job.status === "queued") return job.queue_place ? `${job.queue_place} before it` : "it comes next";
  if (job.status !== "in_progress") return job.status === "completed" ? `${job.width} × ${job.height}, ${job.seconds.toFixed(1)} s, made in ${time(job.completed_at - job.started_at)}` : "";
  const told = job.segments ? [`segment ${job.segment} of ${job.segments}`] : [job.stage || "starting"];
  if (!job.segments && job.stage_total) told.push(`${job.stage_done} of ${job.stage_total}`);
  if (job.seconds_left !== null) told.push(`about ${time(job.seconds_left)} left`);
  return told.join(", ");
}
function update(part, job) {
  part.job = job;
  put(part.status, NAMES[job.status]);
  put(part.name, `${job.files.reference.name} moving as in ${job.files.driving_video.name}`);
  put(part.state, describe(job));
  part.bar.value = job.progress;
  part.bar.hidden = !["in_progress", "paused"].includes(job.status);
  put(part.error, job.error ? job.error.message : "");
  const focused = part.actions.contains(document.activeElement) ? document.activeElement : null;
  for (const [verb, from] of Object.entries(VERBS)) part[verb].hidden = !from.includes(job.status);
  part.first.hidden = job.status !== "queued" || !job.queue_place;
  part.download.hidden = job.status !== "completed";
  if (focused && focused.hidden) (part.pause.hidden ? part.resume.hidden ? part.copy : part.resume : part.pause).focus();
  const shows = job.status === "completed" ? "result" : job.growing ? "growing" : "nothing";
  if (part.shows === shows) return;
  part.shows = shows;
  part.players.className = shows === "result" ? "pair" : "pair one";
  part.players.replaceChildren(...(shows === "result" ? pair(job) : shows === "growing" ? [growing(part)] : []));
}
function growing(part) {
  const player = make("video", { muted: true, autoplay: !still, controls: true, playsInline: true, src: `/v1/videos/${part.job.id}/growing`, data: { role: "growing" } });
  const again = () => setTimeout(() => { if (part.shows === "growing" && part.job.growing) player.src = `/v1/videos/${part.job.id}/growing`; }, 2000);
  player.addEventListener("ended", again);
  player.addEventListener("error", again);
  return make("figure", {}, player, make("figcaption", { textContent: "so far" }));
}
function pair(job) {
  const source = make("video", { src: `/v1/uploads/${job.files.driving_video.id}#t=0.001`, muted: true, playsInline: true, preload: "metadata" });
  const result = make("video", { src: `/v1/videos/${job.id}/content#t=0.001`, controls: true, playsInline: true, loop: true, preload: "metadata", data: { role: "result" } });
  const begin = Number(job.fields.start || 0);
  const align = (exact) => { if (exact || Math.abs(source.currentTime - result.currentTime - begin) > 0.12) source.currentTime = result.currentTime + begin; };
  result.addEventListener("play", () => { align(true); source.play().catch(() => {}); });
  result.addEventListener("pause", () => { source.pause(); align(true); });
  result.addEventListener("seeking", () => align(true));
  result.addEventListener("timeupdate", () => align(false));
  result.addEventListener("ratechange", () => { source.playbackRate = result.playbackRate; });
  result.addEventListener("loadedmetadata", () => align(true));
  return [make("figure", {}, source, make("figcaption", { textContent: "the movements" })), make("figure", {}, result, make("figcaption", { textContent: "the result (plays both)" }))];
}
async function refresh() {
  let list;
  try {
    list = await api(`/v1/videos?limit=${listed}`);
    put($("server"), "");
  } catch (error) { put($("server"), error.message); return; }
  const shown = new Set();
  list.data.forEach((job, place) => {
    shown.add(job.id);
    if (!cards.has(job.id)) {
      const card = newCard(job);
      cards.set(job.id, card);
    }
    const card = cards.get(job.id);
    update(card, job);
    if ($("jobs").children[place] !== card.element) $("jobs").insertBefore(card.element, $("jobs").children[place] || null);
  });
  for (const [id, card] of cards) if (!shown.has(id)) {
    const next = card.element.contains(document.activeElement) ? card.element.nextElementSibling || card.element.previousElementSibling : null;
    card.element.remove();
    cards.delete(id);
    const near = next && next.querySelector("button:not([hidden])");
    if (near) near.focus();
  }
  $("nothing").hidden = list.data.length > 0;
  $("more").hidden = !list.has_more;
}
async function keepFresh() {
  if (!document.hidden) await refresh();
  const busy = [...cards.values()].some((card) => ["queued", "in_progress"].includes(card.job.status));
  setTimeout(keepFresh, busy ? 800 : 3000);
}

// -- begin
$("basic").replaceChildren(...basic.map((name) => control(fields[name])));
$("groups").replaceChildren(...groups.map(([title, names]) => make("div", {}, make("h2", { textContent: title }), make("div", { className: "fields" }, ...names.map((name) => control(fields[name]))))));
for (const name of ["start", "end"]) $(name).addEventListener("input", () => { // the picture follows
  const player = $("driving-player"), moment = Number($(name).value);
  if (player && $(name).value !== "" && Number.isFinite(moment)) player.currentTime = Math.min(moment, player.duration || moment);
});
$("new").addEventListener("input", (event) => {
  keepDraft();
  const place = $(`error-${event.target.id}`);
  if (place) { place.hidden = true; event.target.removeAttribute("aria-invalid"); }
  if (LOOKED_AT.includes(event.target.id)) lookSoon();
});
$("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  clearErrors();
  $("go").disabled = true;
  try {
    const job = await api("/v1/videos", form());
    await refresh();
    const card = $(job.id);
    if (card) { card.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" }); }
    put($("ready"), "Started: see below.");
  } catch (error) { showError(error, true); }
  $("go").disabled = false;
});
$("clear").addEventListener("click", () => { clearErrors(); setFields({}); keepDraft(); look(); });
$("more").addEventListener("click", () => { listed = Math.min(1000, listed + 50); refresh(); });
(function restore() {
  let draft = {};
  try { draft = JSON.parse(localStorage.getItem("draft") || "{}"); } catch { /* of another version */ }
  setFields(draft.values || {});
  for (const [name, file] of Object.entries(draft.files || {})) if (FILES.includes(name)) setFile(name, file);
  const last = localStorage.getItem("preview");
  if (last && files.reference && files.driving_video) {
    preview = last;
    $("preview").hidden = false;
    follow(last, ++wanted, null);
  }
})();
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
keepFresh();
