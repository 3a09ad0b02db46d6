"use strict";
// Shows what stands in the page's data: worst clips, players that run together, curves. It asks nothing of any server.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const COLOURS = ["#2563eb", "#e11d48", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d"];
const colour = (row) => (row === data.truth ? "#8a94a6" : COLOURS[data.rows.indexOf(row) % COLOURS.length]);
const scoreOf = (name) => data.scores.find((score) => score.name === name);
const shown = (name, value) => (value === undefined ? "–" : value.toFixed(scoreOf(name).digits));

for (const row of document.querySelectorAll("tr[data-row]")) row.style.setProperty("--dot", colour(row.dataset.row));

// ---- curves: an SVG for each score; `onPick` hears of the x at which one was tapped
const WIDTH = 360, HEIGHT = 150, LEFT = 44, RIGHT = 8, TOP = 8, BOTTOM = 20;
function chart(title, curves, digits, xEnd, xText, onPick) {
  const values = Object.values(curves).flatMap((curve) => curve[1]);
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) { low -= 0.5; high += 0.5; }
  const x = (at) => LEFT + (WIDTH - LEFT - RIGHT) * (xEnd ? at / xEnd : 0);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  const space = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
    return element;
  };
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  for (const value of [low, (low + high) / 2, high]) {
    draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) });
    draw("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(Math.min(digits, 3)));
  }
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    draw("text", { x: x(share * xEnd), y: HEIGHT - 5, "text-anchor": anchor }, xText(share * xEnd));
  }
  for (const [row, [numbers, heights]] of Object.entries(curves)) {
    const points = numbers.map((at, index) => `${x(at).toFixed(1)},${y(heights[index]).toFixed(1)}`).join(" ");
    const line = { points, fill: "none", stroke: colour(row), "stroke-width": 1.6, "stroke-linejoin": "round" };
    if (row === data.truth) line["stroke-dasharray"] = "4 3";
    draw("polyline", line);
    if (numbers.length === 1) draw("circle", { cx: x(numbers[0]), cy: y(heights[0]), r: 3, fill: colour(row) });
  }
  const now = draw("line", { class: "now", x1: -9, x2: -9, y1: TOP, y2: HEIGHT - BOTTOM });
  const legend = make("div", { className: "legend" });
  for (const row of Object.keys(curves)) {
    const dot = make("i", { className: "dot" });
    dot.style.setProperty("--dot", colour(row));
    legend.append(make("span", {}, dot, row));
  }
  const figure = make("figure", {}, make("figcaption", { textContent: title }), svg, legend);
  figure.setNow = (at) => { now.setAttribute("x1", x(at)); now.setAttribute("x2", x(at)); };
  if (onPick) svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    onPick(Math.max(0, Math.min(1, share)) * xEnd);
  });
  return figure;
}

for (const [name, curves] of Object.entries(data.means)) {
  const end = Math.max(...Object.values(curves).flatMap((curve) => curve[0]));
  const score = scoreOf(name);
  $("mean-curves").append(chart(score.heading, curves, score.digits, end, (at) => `${Math.round(at)} s`));
}
$("over-time").hidden = !Object.keys(data.means).length;

// ---- clips, worst first
for (const score of data.scores) $("by-score").append(new Option(score.heading, score.name));
for (const row of data.rows) $("by-method").append(new Option(row, row));
function listClips() {
  const name = $("by-score").value, method = $("by-method").value;
  const rows = data.rows.filter((row) => data.clips.some((clip) => clip.values[row] && name in clip.values[row]));
  const head = make("tr", {}, make("th", { textContent: "clip" }));
  for (const row of rows) head.append(make("th", { textContent: row }));
  $("clips-head").replaceChildren(head);
  const worst = (data.worst[name] || {})[method] || [];
  const others = data.clips.map((clip) => clip.name).filter((clip) => !worst.includes(clip));
  $("clips-body").replaceChildren(...[...worst, ...others].map((clipName) => {
    const clip = data.clips.find((each) => each.name === clipName);
    const line = make("tr", { tabIndex: 0 }, make("th", { textContent: clipName }));
    for (const row of rows) line.append(make("td", { textContent: shown(name, (clip.values[row] || {})[name]) }));
    line.dataset.clip = clipName;
    line.classList.toggle("open", opened !== null && opened.name === clipName);
    line.addEventListener("click", () => openClip(clip));
    line.addEventListener("keydown", (event) => { if (event.key === "Enter") openClip(clip); });
    return line;
  }));
}

// ---- one clip: players that run together
let opened = null, videos = [], charts = [], addresses = [];
const media = {};
for (const element of document.querySelectorAll("script.media")) media[element.dataset.name] = element;
function address(name) {
  const [kind, content] = media[name].textContent.trim().split(";base64,");
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: kind.slice(5) }));
  addresses.push(url);
  return url;
}
function openClip(clip) {
  closeClip();
  opened = clip;
  $("clip").hidden = false;
  $("clip-name").textContent = clip.name;
  for (const label of clip.videos) {
    const picture = label === "reference";
    const element = make(picture ? "img" : "video", { src: address(`${clip.name}/${label}`) });
    if (picture) element.alt = "reference";
    else {
      Object.assign(element, { muted: true, playsInline: true, preload: "auto" });
      videos.push(element);
      element.addEventListener("loadedmetadata", showFrame);
    }
    const dot = make("i", { className: "dot" });
    if (data.rows.includes(label)) dot.style.setProperty("--dot", colour(label));
    $("videos").append(make("figure", {}, element, make("figcaption", {}, dot, label)));
  }
  document.querySelector(".player").hidden = !clip.videos.length;
  for (const [name, curves] of Object.entries(clip.curves)) {
    const score = scoreOf(name), text = (at) => `${(at / clip.fps).toFixed(1)} s`;
    charts.push(chart(score.heading, curves, score.digits, clip.frames - 1, text, (at) => seek(Math.round(at))));
  }
  $("curves").replaceChildren(...charts);
  const names = data.scores.map((score) => score.name).filter((name) => data.rows.some((row) => name in (clip.values[row] || {})));
  const head = make("tr", {}, make("th", { textContent: "score" }));
  for (const row of data.rows) head.append(make("th", { textContent: row }));
  $("clip-head").replaceChildren(head);
  $("clip-body").replaceChildren(...names.map((name) => {
    const line = make("tr", {}, make("th", { textContent: scoreOf(name).heading }));
    for (const row of data.rows) line.append(make("td", { textContent: shown(name, (clip.values[row] || {})[name]) }));
    return line;
  }));
  $("seek").value = 0;
  showFrame();
  listClips();
  $("clip").scrollIntoView({ block: "start" });
}
function closeClip() {
  pause();
  for (const url of addresses) URL.revokeObjectURL(url);
  addresses = []; videos = []; charts = []; opened = null;
  $("videos").replaceChildren();
  $("clip").hidden = true;
}
const longest = () => videos.reduce((best, each) => (each.duration > (best.duration || 0) ? each : best), videos[0]);
const framesShown = () => Math.max(1, Math.round(((longest() || {}).duration || 0) * opened.fps));
const playing = () => videos.length > 0 && !longest().paused;
function showFrame() {
  if (!opened || !videos.length) return;
  const frame = Math.min(framesShown() - 1, Math.floor(longest().currentTime * opened.fps + 1e-3));
  $("seek").max = framesShown() - 1;
  $("seek").value = frame;
  $("at").textContent = `frame ${frame} of ${framesShown()}, ${(frame / opened.fps).toFixed(2)} s`;
  for (const each of charts) each.setNow(frame);
}
function seek(frame) { // to the middle of the frame, so that rounding cannot show its neighbour
  if (!videos.length) return;
  pause();
  const wanted = (Math.max(0, Math.min(framesShown() - 1, frame)) + 0.5) / opened.fps;
  for (const video of videos) video.currentTime = Math.min(wanted, Math.max(0, video.duration - 0.5 / opened.fps));
  showFrame();
}
function pause() {
  for (const video of videos) video.pause();
  $("play").textContent = "play";
}
function follow() { // while the longest plays, the others are brought back to it where they have drifted
  if (!playing()) { if (opened && videos.length) seek(Number($("seek").value)); return; }
  const leader = longest();
  for (const video of videos) {
    if (video === leader) continue;
    const wanted = Math.min(leader.currentTime, video.duration);
    if (Math.abs(video.currentTime - wanted) > 1.5 / opened.fps) video.currentTime = wanted;
    if (video.paused && wanted < video.duration) video.play().catch(() => {});
  }
  showFrame();
  requestAnimationFrame(follow);
}
$("play").addEventListener("click", async () => {
  if (playing()) { const frame = Number($("seek").value); pause(); seek(frame); return; }
  if (!videos.length) return;
  if (Number($("seek").value) >= framesShown() - 1) seek(0);
  for (const video of videos) video.playbackRate = Number($("speed").value);
  await Promise.all(videos.map((video) => video.play().catch(() => {})));
  $("play").textContent = "pause";
  requestAnimationFrame(follow);
});
$("back").addEventListener("click", () => seek(Number($("seek").value) - 1));
$("forth").addEventListener("click", () => seek(Number($("seek").value) + 1));
$("seek").addEventListener("input", () => seek(Number($("seek").value)));
$("speed").addEventListener("change", () => { for (const video of videos) video.playbackRate = Number($("speed").value); });
$("close").addEventListener("click", () => { closeClip(); listClips(); });
$("by-score").addEventListener("change", listClips);
$("by-method").addEventListener("change", listClips);
listClips();
