"use strict";
// Shows one question after the other and sends the answers. Which questions there are, and what fits, the server knows.
if (location.search) history.replaceState(null, "", "/"); // the token is in a cookie now
const $ = (id) => document.getElementById(id);
const { aspects } = JSON.parse($("settings").textContent);
const MEANING = {
  "visual quality": "How sharp and natural does the video look?",
  "identity preservation": "Is it the person of the picture on the left, in the same clothes?",
  "temporal consistency": "Does it move smoothly, without flicker, jumps, or things that change?",
};
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
let question = null;

async function send(path, content) {
  const options = content && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  const response = await fetch(path, options || {});
  const body = await response.json();
  if (response.status === 409) return send("/next"); // answered already, perhaps in another tab: go on
  if (!response.ok) throw new Error(body.error);
  return body;
}
async function trying(work) {
  $("trouble").hidden = true;
  try { await work(); } catch (error) {
    $("trouble").textContent = error.message;
    $("trouble").hidden = false;
  }
}
function show(next) {
  question = next;
  $("welcome").hidden = next !== "who";
  $("done").hidden = next !== null;
  $("ask").hidden = next === "who" || next === null;
  if (!$("ask").hidden) ask();
  const title = next === null ? $("thanks") : next === "who" ? null : $("title");
  if (title) title.focus({ preventScroll: true }); // what had the focus is gone: go on from the new question
}
function field(name, text, choices, ends) {
  const scale = make("div", { className: "scale" });
  for (const [value, label] of choices) {
    scale.append(make("label", {}, make("input", { type: "radio", name, value, required: true }), label));
  }
  const field = make("fieldset", {}, make("legend", { textContent: name }));
  if (text) field.append(make("p", { className: "hint", textContent: text }));
  field.append(scale);
  if (ends) field.append(make("div", { className: "ends" }, ...ends.map((end) => make("span", { textContent: end }))));
  return field;
}
function figure(side, caption) {
  const src = `/media/${question.token}/${side}`;
  const picture = side === "reference";
  const element = make(picture ? "img" : "video", picture ? { src, alt: caption } : { src, muted: true, playsInline: true, loop: true });
  return make("figure", { className: side }, element, make("figcaption", { textContent: caption }));
}
function ask() {
  const pair = question.kind === "pair";
  $("bar").style.width = `${100 * question.place / question.total}%`;
  $("at").textContent = `${question.place + 1} of ${question.total}`;
  $("title").textContent = pair ? "Which video is better?" : "How good is this video?";
  const sides = pair ? [["left", "left"], ["right", "right"]] : [["left", "the video"]];
  $("videos").replaceChildren(figure("reference", "the person"), ...sides.map(([side, caption]) => figure(side, caption)));
  $("fields").replaceChildren(...(pair
    ? [field("better", "", [["left", "left"], ["same", "the same"], ["right", "right"]])]
    : aspects.map((name) => field(name, MEANING[name], [0, 1, 2, 3, 4, 5].map((each) => [each, each]), ["bad", "excellent"]))));
  $("send").disabled = true;
  play();
}
function play() {
  for (const video of document.querySelectorAll("video")) { video.currentTime = 0; video.play().catch(() => {}); }
}
$("again").addEventListener("click", play);
$("large").addEventListener("click", () => {
  const large = $("videos").classList.toggle("large");
  $("large").setAttribute("aria-pressed", large);
});
$("answer").addEventListener("input", () => { $("send").disabled = !$("answer").checkValidity(); });
$("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  const values = new FormData($("answer"));
  const answer = question.kind === "pair"
    ? { choice: values.get("better") }
    : Object.fromEntries(aspects.map((name) => [name, Number(values.get(name))]));
  $("send").disabled = true;
  trying(async () => { show((await send("/answer", { question: question.token, answer })).question); window.scrollTo(0, 0); });
});
$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  trying(async () => { await send("/enter", { name: $("name").value }); show((await send("/next")).question); });
});
trying(async () => show((await send("/next")).question));
