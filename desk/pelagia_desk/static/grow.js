// Grow a class: look at a few pages, say whether all match, confirm what was not shown.
"use strict";

const data = desk.data();
const by = (id) => document.getElementById(id);
const titles = Object.fromEntries(data.classes.map((entry) => [entry.name, entry.title]));
const grid = new Grid(by("grid"), by("about"), by("common-scale"));
const state = { className: data.class in titles ? data.class : "", growth: null, mode: "start", busy: false };
const number = (count) => count.toLocaleString("en");

function step(name) {
  state.mode = name;
  for (const one of ["start", "search", "confirm", "done"]) by(`${one}-step`).hidden = one !== name;
}

async function doing(work) {
  if (state.busy) return;
  state.busy = true;
  try { await work(); } catch (error) { desk.say(error.message, true); } finally { state.busy = false; }
}

const search = new ClassSearch(by("class-search"), by("class-found"), data.classes, (name) => {
  state.className = name; by("class-search").value = titles[name]; by("class-found").replaceChildren(); search.found = [];
  by("start").focus();
});
by("class-search").addEventListener("keydown", (event) => search.key(event));
by("class-search").addEventListener("input", () => { state.className = ""; });

async function start() {
  if (!state.className) { by("class-search").focus(); throw new Error("Choose a class first."); }
  grid.trueSizes = by("true-sizes").checked;
  state.asked = { tab: desk.tab, class: state.className, seed: data.seed, only_suggested: by("only").checked, station: data.station, count: Number(by("count").value) };
  show(await desk.post("/grow/start", state.asked));
}

function show(growth) {
  state.growth = growth;
  if (growth.phase === "confirm") { confirmStep(growth); return; }
  step("search");
  const check = growth.phase === "check";
  by("grow-question").textContent = check ? `A random page of the crops that were not shown: mark each that is not ${growth.title}` : `Are these all ${growth.title}?`;
  by("yes").firstChild.textContent = check ? "Done " : "All match ";
  by("no").hidden = check;
  drawMap(growth);
  grid.show(growth.crops);
  document.body.dataset.ready = `${growth.phase} ${growth.page}`;
}

function drawMap(growth) {
  const map = by("map"), few = Math.min(growth.pages, 120);
  map.replaceChildren(...Array.from({ length: few }, (_, slot) => {
    const first = Math.floor(slot * growth.pages / few), last = Math.max(first + 1, Math.floor((slot + 1) * growth.pages / few));
    const bar = document.createElement("i"), within = (page) => page >= first && page < last;
    if (growth.phase === "search" && within(growth.page)) bar.className = "now";
    else if (within(growth.first_no)) bar.className = "no";
    else if (growth.looked.some((page) => within(page) && page <= growth.last_yes)) bar.className = "yes";
    else if (first <= growth.last_yes) bar.className = "taken";
    else if (first > growth.first_no) bar.className = "after";
    return bar;
  }));
  map.setAttribute("aria-label", `page ${growth.page + 1} of ${growth.pages}; ${growth.looked.length} looked at`);
  map.title = `${growth.pages} pages in order of similarity; green: all match, red: not all, yellow: this page`;
}

async function answer(match) {
  if (grid.seconds < 0.7 && grid.displayed.size) return;
  if (match && grid.hiddenBelow) {
    desk.say(`${grid.hiddenBelow} crops below were not shown yet: look at them, then answer`);
    by("grid").scrollBy({ top: by("grid").clientHeight * 0.9 });
    return;
  }
  const odd = [...grid.marked], broken = grid.crops.filter((_, index) => grid.cells[index].classList.contains("broken")).map((crop) => crop.id);
  show(await desk.post("/grow/answer", { growth: state.growth.growth, page: state.growth.page, displayed: [...grid.displayed], odd: [...odd, ...broken], match, seconds: grid.seconds }));
}

function confirmStep(growth) {
  step("confirm");
  by("confirm-title").textContent = growth.seen + growth.unseen ? `Accept as ${growth.title}?` : `Nothing matches ${growth.title}`;
  const lines = [`You looked at ${number(growth.looked.length)} pages: ${number(growth.seen)} crops were shown and match.`];
  if (growth.unseen) {
    lines.push(`Before the last page that matches are ${number(growth.unseen)} crops that were not shown.`);
    lines.push(`On a random page of them, ${growth.wrong} of ${growth.checked} did not match. So at most ${(100 * growth.limit).toFixed(1)}% of them are wrong (with 95% confidence).`);
    lines.push("If you accept them, each one's annotation in Label Studio says that it was accepted by bisection, and what the random page showed.");
  }
  by("confirm-text").replaceChildren(...lines.map((text) => { const line = document.createElement("p"); line.textContent = text; return line; }));
  by("accept-seen").innerHTML = "<kbd>Enter</kbd>";
  by("accept-seen").prepend(growth.unseen ? `Accept only the ${number(growth.seen)} shown ` : growth.seen ? `Accept ${number(growth.seen)} ` : "Search again ");
  by("accept-unseen").hidden = !growth.unseen;
  by("accept-unseen").innerHTML = "<kbd>B</kbd>";
  by("accept-unseen").prepend(`Accept also the ${number(growth.unseen)} that were not shown `);
  by("accept-seen").focus();
  document.body.dataset.ready = "confirm";
}

async function accept(unseen) {
  const growth = state.growth;
  if (!growth.seen && !growth.unseen) { step("start"); document.body.dataset.ready = "start"; return; }
  const done = await desk.post("/grow/accept", { growth: growth.growth, unseen, unseen_count: growth.unseen });
  step("done");
  by("done-title").textContent = `${number(done.accepted)} accepted as ${growth.title}: ${number(done.seen)} shown, ${number(done.unseen)} by bisection`;
  by("again").focus();
  desk.status();
  document.body.dataset.ready = "done";
}

async function again() { data.seed = null; show(await desk.post("/grow/start", { ...state.asked, seed: null })); }

async function undo() {
  const answer = await desk.post("/undo", {});
  desk.say(`taken back: ${answer.text}`);
  desk.status();
  if (state.mode === "done") step("start");
}

document.addEventListener("keydown", (event) => {
  if (event.repeat && !event.key.startsWith("Arrow")) { event.preventDefault(); return; }
  if (desk.dialogOpen() || event.altKey || event.metaKey) return;
  if (event.ctrlKey) { if (event.key === "z") { event.preventDefault(); doing(undo); } return; }
  const key = event.key.toLowerCase();
  const button = event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ");
  if (desk.typing(event) || event.target instanceof HTMLSelectElement || button) return;
  const acts = {
    start: { enter: () => doing(start) },
    search: { enter: () => doing(() => answer(true)), y: () => doing(() => answer(true)), n: () => state.growth.phase === "search" && doing(() => answer(false)) },
    confirm: { enter: () => doing(() => accept(false)), b: () => state.growth.unseen && doing(() => accept(true)) },
    done: { enter: () => doing(again), z: () => doing(undo) },
  }[state.mode];
  if (state.mode === "search" && grid.key(event)) return;
  if (acts[key]) { event.preventDefault(); acts[key](); }
});

by("start").addEventListener("click", () => doing(start));
by("yes").addEventListener("click", () => doing(() => answer(true)));
by("no").addEventListener("click", () => doing(() => answer(false)));
by("accept-seen").addEventListener("click", () => doing(() => accept(false)));
by("accept-unseen").addEventListener("click", () => doing(() => accept(true)));
by("again").addEventListener("click", () => doing(again));
by("undo").addEventListener("click", () => doing(undo));

if (localStorage.getItem("desk-grow-count")) by("count").value = localStorage.getItem("desk-grow-count");
by("count").addEventListener("change", () => localStorage.setItem("desk-grow-count", by("count").value));
by("seed-line").textContent = data.seed ? `It starts from the crop that you chose (task ${data.seed}).` : "It starts from the crops that have this class already.";
if (state.className) { by("class-search").value = titles[state.className]; by("start").focus(); if (data.seed) doing(start); } else by("class-search").focus();
document.body.dataset.ready = "start";
