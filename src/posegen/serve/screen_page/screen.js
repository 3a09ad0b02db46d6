"use strict";
// One clip after the other: keys or buttons answer, the server keeps the answers and says which clip comes next.
if (location.search) history.replaceState(null, "", "/"); // the token is in a cookie now
const $ = (id) => document.getElementById(id);
const { tags } = JSON.parse($("settings").textContent);
let shown = null, chosen = new Set(), busy = false;

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, options);
  const content = await response.json();
  if (!response.ok) throw new Error(content.error || response.statusText);
  return content;
}
async function go(path, body, said) {
  if (busy) return;
  busy = true;
  try {
    show(await ask(path, body));
    $("last").textContent = said || "";
    $("trouble").hidden = true;
  } catch (error) {
    $("trouble").textContent = `${error.message} (the answer was not kept; try again)`;
    $("trouble").hidden = false;
  }
  busy = false;
}
function show(state) {
  shown = state.clip;
  chosen = new Set();
  $("bar").style.width = `${(100 * state.done) / Math.max(1, state.total)}%`;
  $("at").textContent = `${state.done} of ${state.total} looked at`;
  const held = $("look").contains(document.activeElement) || $("done").contains(document.activeElement); // the focus
  $("look").hidden = shown === null;
  $("done").hidden = shown !== null;
  if (shown === null) { $("video").removeAttribute("src"); if (held) $("undo-last").focus(); return; }
  if (held && (document.activeElement === document.body || !document.activeElement.checkVisibility())) $("keep").focus();
  $("name").textContent = `${shown.source.split("/").pop()} · ${shown.start.toFixed(1)}–${shown.end.toFixed(1)} s`;
  $("name").title = shown.name;
  $("verdict").textContent = shown.kept ? "the filters keep it" : `dropped by ${shown.dropped_by.join(", ").replaceAll("_", " ")}`;
  $("verdict").className = shown.kept ? "" : "dropped";
  $("still").hidden = true;
  $("video").hidden = false;
  $("video").poster = `/picture/${shown.row}`;
  $("video").src = `/video/${shown.row}`;
  $("facts").replaceChildren(...Object.entries(shown.facts).map(([name, value]) => {
    const line = document.createElement("tr");
    const head = document.createElement("th"), cell = document.createElement("td");
    head.textContent = name.replaceAll("_", " "); cell.textContent = value;
    line.append(head, cell);
    return line;
  }));
  $("tag").value = "";
  listTags();
  if (state.following !== null) fetch(`/video/${state.following}`).catch(() => {}); // cut while this one is looked at
}
$("video").addEventListener("error", () => { // the video is elsewhere: its picture, at least
  if (!shown || !$("video").getAttribute("src")) return;
  $("video").hidden = true;
  $("still").hidden = false;
  $("still").src = `/picture/${shown.row}`;
});
function listTags() { // buttons stay while they can, and so does the focus
  const wanted = [...new Set([...tags, ...chosen])];
  const buttons = [...$("tags").children];
  for (const button of buttons) if (!wanted.includes(button.dataset.tag)) button.remove();
  wanted.forEach((tag, place) => {
    let button = buttons.find((each) => each.dataset.tag === tag);
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.dataset.tag = tag;
      button.textContent = tag;
      if (place < Math.min(9, tags.length)) { const key = document.createElement("kbd"); key.textContent = place + 1; button.append(key); }
      button.addEventListener("click", () => toggle(tag));
      $("tags").append(button);
    }
    button.setAttribute("aria-pressed", chosen.has(tag));
  });
}
function toggle(tag) {
  if (!chosen.delete(tag)) chosen.add(tag);
  listTags();
}
const say = (keep) => {
  if (!shown) return;
  const said = `${keep === null ? "left to the filters" : keep ? "kept" : "dropped"}: ${$("name").textContent}${chosen.size ? ` (${[...chosen].join(", ")})` : ""}`;
  go("/say", { row: shown.row, keep, tags: [...chosen] }, said);
};
const undo = () => go("/undo", {}, "undone");
$("keep").addEventListener("click", () => say(true));
$("drop").addEventListener("click", () => say(false));
$("leave").addEventListener("click", () => say(null));
$("undo").addEventListener("click", undo);
$("undo-last").addEventListener("click", undo);
$("more").addEventListener("submit", (event) => {
  event.preventDefault();
  const tag = $("tag").value.trim();
  if (tag) { chosen.add(tag); listTags(); }
  $("tag").value = "";
  $("tag").blur();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target === $("tag")) { if (event.key === "Escape") $("tag").blur(); return; }
  const key = event.key.toLowerCase();
  const actions = { k: () => say(true), d: () => say(false), s: () => say(null), u: undo, t: () => $("tag").focus(),
    " ": () => ($("video").paused ? $("video").play() : $("video").pause()) };
  if (actions[key]) { event.preventDefault(); actions[key](); }
  else if (/^[1-9]$/.test(key) && tags[key - 1] && shown) toggle(tags[key - 1]);
});
go("/next");
