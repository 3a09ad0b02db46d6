"use strict";
// Thresholds that can be tried: histograms, what would be kept, sample grids, recipe lines. It asks nothing of any server.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const number = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
const time = (hours) => (hours >= 1 ? `${number(hours)} h` : hours >= 1 / 60 ? `${number(hours * 60)} min` : `${number(hours * 3600)} s`);
const count = data.seconds.length;
const limits = data.filters.map(({ minimum, maximum }) => ({ minimum, maximum }));
const passes = (filter, limit, row) => {
  const value = data.scores[filter.column][row];
  return value !== null && (limit.minimum === null || value >= limit.minimum) && (limit.maximum === null || value <= limit.maximum);
};

// ---- funnel
const first = Math.max(1, data.funnel[0].clips);
$("funnel").append(...data.funnel.map((step) => {
  const bar = make("i");
  bar.style.width = `${(100 * step.clips) / first}%`;
  const text = `${step.clips.toLocaleString("en")} · ${((100 * step.clips) / first).toFixed(1)} % · ${time(step.hours)}`;
  return make("div", { className: "step" }, make("span", { textContent: step.name.replaceAll("_", " ") }), bar, make("small", { textContent: text }));
}));
if (data.total.sampled < data.total.scored)
  $("sampled").textContent = `Distributions and trials are of ${data.total.sampled.toLocaleString("en")} clips drawn from ${data.total.scored.toLocaleString("en")}.`;

// ---- histograms
const WIDTH = 380, HEIGHT = 150, LEFT = 8, RIGHT = 8, TOP = 8, BOTTOM = 22, BINS = 48;
const space = "http://www.w3.org/2000/svg";
function range(values, limit) { // the middle 99 %, and the limits in sight
  const sorted = values.filter((value) => value !== null).sort((one, other) => one - other);
  if (!sorted.length) return [0, 1];
  const seen = [sorted[Math.floor(0.005 * (sorted.length - 1))], sorted[Math.ceil(0.995 * (sorted.length - 1))]];
  for (const each of [limit.minimum, limit.maximum]) if (each !== null) seen.push(each);
  let low = Math.min(...seen), high = Math.max(...seen);
  const room = low === high ? Math.max(0.5, Math.abs(low) * 0.1) : 0.06 * (high - low);
  return [sorted[0] >= 0 ? Math.max(0, low - room) : low - room, high + room];
}
function histogram(title, values, limit, onMove) {
  const [low, high] = range(values, limit);
  const x = (value) => LEFT + ((WIDTH - LEFT - RIGHT) * (value - low)) / (high - low);
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `histogram of ${title}`);
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
    return element;
  };
  const bins = new Array(BINS).fill(0);
  for (const value of values) if (value !== null) bins[Math.max(0, Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS)))] += 1;
  const most = Math.max(1, ...bins), width = (WIDTH - LEFT - RIGHT) / BINS;
  const bars = bins.map((each, place) => {
    const height = each ? Math.max(1.5, ((HEIGHT - TOP - BOTTOM) * Math.sqrt(each)) / Math.sqrt(most)) : 0;
    return draw("rect", { x: LEFT + place * width, y: HEIGHT - BOTTOM - height, width: width - 0.8, height });
  });
  draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM });
  for (const share of [0, 0.5, 1]) {
    const anchor = ["start", "middle", "end"][share * 2], at = low + share * (high - low);
    draw("text", { x: x(at), y: HEIGHT - 7, "text-anchor": anchor }, number(at));
  }
  const lines = {};
  for (const kind of onMove ? ["minimum", "maximum"] : []) {
    if (limit[kind] === null) continue;
    const line = draw("line", { class: "limit", y1: TOP - 6, y2: HEIGHT - BOTTOM });
    const grip = draw("circle", { class: "grip", r: 6, cy: TOP });
    const area = draw("rect", { class: "catch", y: 0, width: 36, height: HEIGHT });
    lines[kind] = (value) => {
      const at = Math.max(LEFT, Math.min(WIDTH - RIGHT, x(value)));
      line.setAttribute("x1", at); line.setAttribute("x2", at);
      grip.setAttribute("cx", at); area.setAttribute("x", at - 18);
    };
    area.addEventListener("pointerdown", (down) => {
      area.setPointerCapture(down.pointerId);
      const move = (event) => {
        const box = svg.getBoundingClientRect();
        const share = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
        const step = 10 ** Math.floor(Math.log10((high - low) / 200));
        onMove(kind, Number((Math.round((low + Math.max(0, Math.min(1, share)) * (high - low)) / step) * step).toPrecision(6)));
      };
      area.addEventListener("pointermove", move);
      area.addEventListener("pointerup", () => area.removeEventListener("pointermove", move), { once: true });
      down.preventDefault();
    });
  }
  svg.show = (now) => {
    for (const [kind, place] of Object.entries(lines)) place(now[kind]);
    bars.forEach((bar, place) => {
      const middle = low + ((place + 0.5) / BINS) * (high - low);
      const kept = (now.minimum === null || middle >= now.minimum) && (now.maximum === null || middle <= now.maximum);
      bar.setAttribute("class", onMove ? (kept ? "keep" : "drop") : "plain");
    });
  };
  svg.show(limit);
  return svg;
}

// ---- one card for each filter
const cards = data.filters.map((filter, place) => {
  const limit = limits[place], fields = {};
  const svg = histogram(filter.name, data.scores[filter.column], limit, (kind, value) => set(place, kind, value));
  const controls = make("div", { className: "controls" });
  for (const kind of ["minimum", "maximum"]) {
    if (limit[kind] === null) continue;
    const field = make("input", { type: "number", step: "any", value: limit[kind] });
    field.dataset.filter = filter.name; field.dataset.kind = kind;
    field.addEventListener("input", () => { if (field.value !== "" && Number.isFinite(Number(field.value))) set(place, kind, Number(field.value), field); });
    fields[kind] = field;
    controls.append(make("label", {}, `${kind} `, field));
  }
  const says = make("span", { className: "hint" });
  const grids = {};
  for (const kind of ["dropped", "kept"]) grids[kind] = { title: make("h4"), box: make("div", { className: "grid" }) };
  const figures = filter.shown.map((row) => {
    const value = data.scores[filter.column][row];
    const picture = make("img", { src: data.pictures[row] || "data:,", alt: "", loading: "lazy", title: data.clips[row] });
    const figure = make("figure", {}, picture, make("figcaption", { textContent: number(value) }));
    return { row, figure };
  });
  const element = make("div", { className: "filter", id: `filter-${filter.name}` },
    make("div", { className: "top" }, make("h3", { textContent: filter.name.replaceAll("_", " ") }), says),
    make("div", { className: "body" }, make("div", {}, svg, controls),
      make("div", { className: "grids" }, ...["dropped", "kept"].map((kind) => make("div", { className: kind }, grids[kind].title, grids[kind].box)))));
  $("filters").append(element);
  return { filter, limit, svg, fields, says, grids, figures };
});
function set(place, kind, value, typed) {
  const card = cards[place], { limit } = card;
  if (kind === "minimum" && limit.maximum !== null) value = Math.min(value, limit.maximum);
  if (kind === "maximum" && limit.minimum !== null) value = Math.max(value, limit.minimum);
  limit[kind] = value;
  if (card.fields[kind] !== typed) card.fields[kind].value = value;
  update(place);
}
function arrange(card) {
  const sorted = { kept: [], dropped: [] };
  for (const { row, figure } of card.figures) sorted[passes(card.filter, card.limit, row) ? "kept" : "dropped"].push(figure);
  for (const kind of ["dropped", "kept"]) {
    card.grids[kind].box.replaceChildren(...sorted[kind]);
    card.grids[kind].title.textContent = `${kind} (${sorted[kind].length} shown)`;
  }
  card.svg.show(card.limit);
}
const failures = data.filters.map(() => new Uint8Array(count));
function update(changed) {
  cards.forEach((card, place) => {
    if (changed !== undefined && changed !== place) return;
    for (let row = 0; row < count; row += 1) failures[place][row] = passes(card.filter, card.limit, row) ? 0 : 1;
    arrange(card);
  });
  let kept = 0, seconds = 0, all = 0;
  const alone = cards.map(() => 0), dropped = cards.map(() => 0);
  for (let row = 0; row < count; row += 1) {
    let failed = 0, last = -1;
    for (let place = 0; place < cards.length; place += 1) if (failures[place][row]) { failed += 1; last = place; dropped[place] += 1; }
    all += data.seconds[row];
    if (!failed) { kept += 1; seconds += data.seconds[row]; }
    else if (failed === 1) alone[last] += 1;
  }
  cards.forEach((card, place) => {
    card.says.textContent = `drops ${((100 * dropped[place]) / Math.max(1, count)).toFixed(1)} %, alone ${((100 * alone[place]) / Math.max(1, count)).toFixed(1)} %`;
  });
  const share = data.total.scored / Math.max(1, count), hours = ((seconds / Math.max(1e-9, all)) * data.total.seconds) / 3600;
  $("would").textContent = `${Math.round(kept * share).toLocaleString("en")} of ${data.total.scored.toLocaleString("en")} clips pass the filters`;
  $("would-hours").textContent = `(${((100 * kept) / Math.max(1, count)).toFixed(1)} %, ${time(hours)}; duplicates and answers of people not counted)`;
  const lines = [];
  for (const { filter, limit } of cards) {
    if (limit.minimum === filter.minimum && limit.maximum === filter.maximum) continue;
    lines.push(`[filters.thresholds.${filter.name}]`, `column = "${filter.column}"`);
    for (const kind of ["minimum", "maximum"]) if (limit[kind] !== null) lines.push(`${kind} = ${Number.isInteger(limit[kind]) ? `${limit[kind]}.0` : limit[kind]}`);
    lines.push("");
  }
  $("recipe").value = lines.join("\n");
}
$("reset").addEventListener("click", () => {
  cards.forEach((card) => {
    for (const kind of Object.keys(card.fields)) { card.limit[kind] = card.filter[kind]; card.fields[kind].value = card.filter[kind]; }
  });
  update();
});
$("copy").addEventListener("click", async () => {
  const field = $("recipe");
  try { await navigator.clipboard.writeText(field.value); } catch { field.select(); document.execCommand("copy"); } // from disk there is no clipboard
  $("copy").textContent = "copied";
  setTimeout(() => { $("copy").textContent = "copy recipe lines"; }, 1500);
});
$("others").append(...data.others.map((name) => make("div", { className: "card" }, make("h3", { textContent: name.replaceAll("_", " ") }),
  histogram(name, data.scores[name], { minimum: null, maximum: null }, null))));
update();
