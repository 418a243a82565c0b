// The sheet: mark what does not belong, accept the rest, then name the odd ones.
"use strict";

const data = desk.data();
const by = (id) => document.getElementById(id);
const titles = Object.fromEntries(data.classes.map((entry) => [entry.name, entry.title]));
const colors = Object.fromEntries(data.classes.map((entry) => [entry.name, entry.color]));
const grid = new Grid(by("grid"), by("about"), by("common-scale"));
const state = { sheet: null, next: null, className: "", mode: "sheet", odd: [], at: 0, named: new Set(), oddSheet: "", since: 0, busy: false };

const fitting = Math.floor(by("grid").clientWidth / 84) * Math.floor((window.innerHeight - 160) / 84);  // crops are hard to see below 84 pixels
for (const option of by("count").options) if (Number(option.value) <= fitting) by("count").value = option.value;
for (const id of ["count", "sort"]) if (localStorage.getItem(`desk-${id}`)) by(id).value = localStorage.getItem(`desk-${id}`);
if (data.sort !== "similar") by("sort").value = data.sort;
const mixed = data.group === "*";
const laterKey = mixed ? "desk-later-all" : "desk-later";  // on sheets of all groups, odd ones come back first unless switched off
by("true-sizes").checked = localStorage.getItem("desk-true-sizes") === "true";
by("later").checked = localStorage.getItem(laterKey) === "true" || (mixed && localStorage.getItem(laterKey) === null);
grid.trueSizes = by("true-sizes").checked;

function step(name) {
  state.mode = name;
  by("sheet-step").hidden = name !== "sheet"; by("odd-step").hidden = name !== "odd"; by("empty").hidden = name !== "empty";
}

function ask(open) {
  return desk.post("/sheets/next", { tab: desk.tab, group: data.group, sort: by("sort").value, station: by("station") ? by("station").value : "", count: Number(by("count").value), open });
}

async function doing(work) {
  if (state.busy) return;
  state.busy = true;
  try { await work(); } catch (error) { desk.say(error.message, true); } finally { state.busy = false; }
}

async function fresh() { state.next = null; show(await ask([])); }

function show(sheet, marked = []) {
  state.sheet = sheet;
  if (!sheet.crops.length) { empty(sheet.next); return; }
  step("sheet");
  setClass(sheet.class || "");
  if (mixed) sheet.crops.forEach((crop) => { crop.heading = titles[crop.class] || crop.class; });
  grid.show(sheet.crops, marked);
  counts();
  preload();
  document.body.dataset.ready = sheet.sheet;
}

function empty(next) {
  // The next group is one key away.
  step("empty");
  const link = by("next-group"), station = by("station") ? by("station").value : "";
  link.href = next ? `/sheet?group=${encodeURIComponent(next.name)}&station=${encodeURIComponent(station)}` : "/";
  link.textContent = next ? `Next group: ${next.title}, ${next.count.toLocaleString("en")} crops` : "All groups";
  const key = document.createElement("kbd");
  key.textContent = "Enter";
  link.append(" ", key);
  link.focus();
  document.body.dataset.ready = "empty";
}

function preload() {
  const shown = state.sheet;
  ask([shown.sheet]).then((next) => {
    if (state.sheet !== shown) return;
    state.next = next;
    next.crops.forEach((crop) => { new Image().src = `/crops/${crop.id}`; });
  }).catch(() => { state.next = null; });
}

function setClass(name) {
  state.className = name;
  if (mixed) { by("question").textContent = "Is each crop what its heading says?"; by("class-button").hidden = true; by("mark").hidden = true; return; }
  by("question").textContent = name ? "Are these all" : "What are these:";
  by("class-button").textContent = name ? titles[name] : "choose a class";
  by("class-button").title = name ? name : "C";
}

function counts() {
  const odd = grid.marked.size;
  by("left").textContent = `${state.sheet.crops.length} of ${state.sheet.left.toLocaleString("en")} to do${odd ? ` · ${odd} marked` : ""}`;
  const rest = state.sheet.crops.length - odd;
  by("accept").firstChild.textContent = mixed ? `Accept ${rest}, each as its heading says ` : state.className ? `Accept ${rest} as ${titles[state.className]} ` : "Choose a class ";
}
grid.changed = counts;

async function accept() {
  if (!state.className && !mixed) { chooseClass(accept); return; }
  if (grid.hiddenBelow) {
    desk.say(`${grid.hiddenBelow} crops below were not shown yet: look at them, then press Enter again`);
    by("grid").scrollBy({ top: by("grid").clientHeight * 0.9 });
    return;
  }
  if (grid.seconds < 0.7) return;
  const sheet = state.sheet, odd = [...grid.marked];
  const displayed = [...grid.displayed].filter((task) => !grid.marked.has(task));
  const answer = await desk.post("/sheets/accept", { sheet: sheet.sheet, class: state.className, displayed, odd, seconds: grid.seconds });
  state.left = answer.left;
  desk.say(answer.not_shown ? `${answer.text}; ${answer.not_shown} could not be shown and stay to do` : answer.text);
  desk.status();
  const toName = by("later").checked ? answer.odd.filter((crop) => crop.again) : answer.odd;  // set aside twice: to be named
  if (toName.length) {
    Object.assign(state, { odd: toName, at: 0, named: new Set(), oddSheet: sheet.sheet });
    showOdd();
  } else await following();
}

async function following() {
  const loaded = state.next && state.next.crops.length;
  const next = loaded ? { ...state.next, left: state.left } : await ask([]);  // it was counted before the last sheet was accepted
  state.next = null;
  show(next);
}

// Odd ones

const search = new ClassSearch(by("search"), by("found"), data.classes, (name) => doing(() => give(name)));

function showOdd() {
  step("odd");
  document.body.dataset.ready = `odd ${state.at}`;
  const crop = state.odd[state.at];
  by("odd-count").textContent = `${state.at + 1} of ${state.odd.length} · not ${titles[crop.not] || ""}`;
  showLarge(by("large"), crop);
  by("odd-about").textContent = describe(crop);
  by("likely").replaceChildren(...crop.likely.map((name, index) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const key = document.createElement("kbd"), swatch = document.createElement("span");
    key.textContent = index + 1; swatch.className = "swatch"; swatch.style.background = colors[name] || "transparent";
    button.type = "button"; button.tabIndex = -1;
    button.append(key, swatch, titles[name]);
    button.addEventListener("click", () => doing(() => give(name)));
    item.append(button);
    return item;
  }));
  by("queue").replaceChildren(...state.odd.map((one, index) => {
    const image = new Image();
    image.src = `/crops/${one.id}`; image.alt = "";
    image.className = index === state.at ? "now" : state.named.has(one.id) ? "named" : "";
    return image;
  }));
  const now = by("queue").querySelector(".now");
  if (now && state.at > 10) now.scrollIntoView({ inline: "center", block: "nearest" });
  search.clear();
  by("search").focus();
  state.since = performance.now();
}

async function give(name) {
  const crop = state.odd[state.at];
  if (state.named.has(crop.id)) { desk.say("This crop has a label: Ctrl Z takes it back", true); return; }
  const seconds = (performance.now() - state.since) / 1000;
  state.left = (await desk.post("/sheets/name", { sheet: state.oddSheet, task: crop.id, class: name, seconds })).left;
  state.named.add(crop.id);
  await afterOdd();
}

async function afterOdd() {
  state.at += 1;
  while (state.at < state.odd.length && state.named.has(state.odd[state.at].id)) state.at += 1;
  if (state.at < state.odd.length) showOdd();
  else { desk.status(); await following(); }
}

async function undo() {
  const answer = await desk.post("/undo", {});
  desk.say(`taken back: ${answer.text}`);
  desk.status();
  const at = state.odd.findIndex((crop) => answer.tasks.includes(crop.id));
  if (answer.kind === "named" && at >= 0 && state.oddSheet) {
    state.named.delete(state.odd[at].id);
    state.at = at;
    showOdd();
  } else if (answer.sheet) { state.next = null; state.oddSheet = ""; show(answer.sheet, answer.marked); }
  else await fresh();
}

// Another class for the sheet

let afterClass = null;
const classSearch = new ClassSearch(by("class-search"), by("class-found"), data.classes, (name) => {
  by("class-dialog").close();
  setClass(name); counts(); grid.focus(grid.focused);
  const then = afterClass;
  afterClass = null;
  if (then) doing(then);
});
function chooseClass(then = null) {
  if (mixed) { desk.say("Each crop gets the class of its heading: open a group alone to give it another class", true); return; }
  afterClass = then; by("class-dialog").showModal(); classSearch.clear(true); by("class-search").focus(); }
by("class-search").addEventListener("keydown", (event) => classSearch.key(event));

// Keys and buttons

function toggle(id) { by(id).checked = !by(id).checked; by(id).dispatchEvent(new Event("change")); }
function zoom() { by("zoom").showModal(); showLarge(by("zoomed"), grid.current); }
function growHere() { desk.leaving = true; location.href = `/grow?class=${encodeURIComponent(mixed ? grid.current.class : state.className)}&seed=${grid.current.id}&station=${encodeURIComponent(by("station") ? by("station").value : "")}`; }
function onward() { desk.leaving = true; location.href = by("next-group").href; }
function home() { desk.leaving = true; location.href = "/"; }
async function skip() { const next = state.next; if (next && next.crops.length) show(next); else desk.say("This is the last sheet of the group"); }

const keys = {
  Enter: () => doing(accept), z: () => doing(undo), i: () => grid.invert(), c: () => chooseClass(), v: zoom, g: growHere,
  t: () => toggle("true-sizes"), l: () => toggle("later"), n: () => doing(skip), h: home,
};

function oddKey(event) {
  const empty = by("search").value === "";
  if (search.key(event)) return;
  const crop = state.odd[state.at];
  if (empty && /^[1-9]$/.test(event.key)) { if (crop.likely[event.key - 1]) doing(() => give(crop.likely[event.key - 1])); }
  else if (empty && event.key === "0") doing(() => give(""));
  else if (empty && event.key === "=") doing(() => give(state.odd[state.at].not));
  else if (empty && event.key === ".") doing(afterOdd);
  else if (empty && event.key === "Backspace") { if (state.at) { state.at -= 1; showOdd(); } }
  else if (event.key === "Escape") { if (empty) doing(following); else search.clear(); }
  else { if (event.key.length === 1 && event.target !== by("search")) by("search").focus(); return; }
  event.preventDefault();
}

document.addEventListener("keydown", (event) => {
  if (event.repeat && !event.key.startsWith("Arrow")) { if (event.key !== "Backspace") event.preventDefault(); return; }
  if (desk.dialogOpen() || event.altKey || event.metaKey) return;
  if (event.ctrlKey) { if (event.key === "z") { event.preventDefault(); doing(undo); } return; }
  if (state.mode === "odd") { oddKey(event); return; }
  if (event.target instanceof HTMLSelectElement || (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " "))) return;
  if (state.mode === "empty") { ({ Enter: onward, h: home, z: () => doing(undo) }[event.key] || (() => {}))(); if (event.key === "Enter") event.preventDefault(); return; }
  if (grid.key(event)) return;
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});

by("accept").addEventListener("click", () => doing(accept));
by("undo").addEventListener("click", () => doing(undo));
by("invert").addEventListener("click", () => grid.invert());
by("grow").addEventListener("click", growHere);
by("class-button").addEventListener("click", () => chooseClass());
by("odd-done").addEventListener("click", () => doing(following));
by("unsure").addEventListener("click", () => doing(() => give("")));
by("belongs").addEventListener("click", () => doing(() => give(state.odd[state.at].not)));
by("leave").addEventListener("click", () => doing(afterOdd));
by("back").addEventListener("click", () => { if (state.at) { state.at -= 1; showOdd(); } });
for (const id of ["sort", "station", "count"]) if (by(id)) by(id).addEventListener("change", () => { if (id !== "station") localStorage.setItem(`desk-${id}`, by(id).value); doing(fresh); });
by("true-sizes").addEventListener("change", () => { localStorage.setItem("desk-true-sizes", by("true-sizes").checked); grid.trueSizes = by("true-sizes").checked; grid.fit(); grid.focus(grid.focused); });
by("later").addEventListener("change", () => { localStorage.setItem(laterKey, by("later").checked); desk.say(by("later").checked ? "Odd ones come back under their next class before they are named" : "Odd ones are named at once"); });

doing(fresh);
