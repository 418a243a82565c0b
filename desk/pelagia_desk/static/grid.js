// A grid of crops: it fits the window, marks odd ones by key, click or drag, and knows which crops were displayed.
"use strict";

const NICE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

function niceLength(most) { return NICE.filter((length) => length <= most).pop() || 0; }

function scaleBar(um, pixelsPerPixel, width) {
  // A bar of a round number of micrometers, at most half as long as the image's place.
  const length = um > 0 ? niceLength((width / 2) * um / pixelsPerPixel) : 0;
  if (!length) return null;
  const bar = document.createElement("span");
  bar.className = "scale";
  bar.style.width = `${length * pixelsPerPixel / um}px`;
  bar.textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  return bar;
}

class Grid {
  constructor(place, about, commonScale) {
    this.place = place; this.about = about; this.commonScale = commonScale;
    this.crops = []; this.cells = []; this.marked = new Set(); this.displayed = new Set(); this.focused = 0;
    this.trueSizes = false; this.columns = 1; this.readyAt = 0; this.painting = null;
    this.headings = new Map();
    this.observer = new IntersectionObserver((entries) => entries.forEach((entry) => {
      const index = Number(entry.target.dataset.index);
      this.inView[index] = entry.isIntersecting;
      this.note(index);
    }), { root: place, threshold: 0.5 });
    place.addEventListener("pointerdown", (event) => this.pointerDown(event));
    place.addEventListener("pointermove", (event) => this.pointerMove(event));
    window.addEventListener("pointerup", () => { this.painting = null; });
    window.addEventListener("resize", () => this.crops.length && this.fit());
    document.addEventListener("visibilitychange", () => this.cells.forEach((_, index) => this.note(index)));
  }

  show(crops, marked = []) {
    this.observer.disconnect();
    this.crops = crops; this.marked = new Set(marked); this.displayed = new Set(); this.focused = 0;
    this.inView = crops.map(() => false); this.readyAt = 0; this.painting = null;
    this.cells = crops.map((crop, index) => this.cell(crop, index));
    this.headings = new Map();
    crops.forEach((crop, index) => {
      if (crop.heading && (!index || crops[index - 1].heading !== crop.heading)) this.headings.set(index, this.heading(crop, crops, index));
    });
    this.place.replaceChildren(...this.cells.flatMap((cell, index) => this.headings.has(index) ? [this.headings.get(index), cell] : [cell]));
    this.place.scrollTop = 0;
    this.fit();
    this.cells.forEach((cell) => this.observer.observe(cell));
    this.focus(0);
  }

  heading(crop, crops, index) {
    // A tile before the first crop of a class, on a sheet of several classes.
    const tile = document.createElement("div"), name = document.createElement("strong"), count = document.createElement("span");
    let end = index;
    while (end < crops.length && crops[end].heading === crop.heading) end += 1;
    tile.className = "heading";
    name.textContent = crop.heading; count.textContent = `${end - index} →`;
    tile.title = crop.heading;
    tile.append(name, count);
    return tile;
  }

  cell(crop, index) {
    const cell = document.createElement("div");
    cell.className = "cell"; cell.dataset.index = index; cell.dataset.task = crop.id;
    cell.setAttribute("role", "option");
    const image = new Image();
    image.alt = ""; image.draggable = false;
    image.addEventListener("load", () => this.note(index));
    image.addEventListener("error", () => cell.classList.add("broken"));
    image.src = `/crops/${crop.id}`;
    cell.append(image);
    this.paintCell(cell, crop);
    return cell;
  }

  paintCell(cell, crop) {
    const odd = this.marked.has(crop.id);
    cell.classList.toggle("odd", odd);
    cell.setAttribute("aria-selected", odd);
    const score = crop.score === null ? "" : `, probability ${crop.score.toFixed(2)}`;
    cell.setAttribute("aria-label", `crop ${Number(cell.dataset.index) + 1}${score}${crop.heading ? `, ${crop.heading}` : ""}${odd ? ", marked as odd" : ""}`);
  }

  fit() {
    const width = this.place.clientWidth - 4, height = this.place.clientHeight - 4, count = this.crops.length + this.headings.size;
    let side = 56;
    for (let columns = 1; columns <= count; columns++) {
      const fits = Math.floor(width / columns);
      if (Math.ceil(count / columns) * fits <= height) { side = Math.max(side, Math.min(fits, 190)); break; }
    }
    this.columns = Math.max(1, Math.floor(width / side));
    const inner = side - 6;
    const sizes = this.crops.map((crop) => Math.max(crop.width, crop.height) * (crop.um || 1)).sort((a, b) => a - b);
    const shared = inner / (sizes[Math.floor(sizes.length * 0.95)] || inner);
    this.crops.forEach((crop, index) => this.size(this.cells[index], crop, side, inner, shared));
    this.headings.forEach((tile) => { tile.style.width = tile.style.height = `${side}px`; });
    this.showCommonScale(shared, inner);
  }

  size(cell, crop, side, inner, shared) {
    cell.style.width = cell.style.height = `${side}px`;
    const most = inner / Math.max(crop.width, crop.height, 1);
    const wanted = this.trueSizes ? shared * (crop.um || 1) : Math.min(most, 3);
    const factor = Math.min(wanted, most);
    const image = cell.querySelector("img");
    image.style.width = `${Math.max(2, crop.width * factor)}px`;
    image.style.height = `${Math.max(2, crop.height * factor)}px`;
    cell.querySelectorAll(".scale, .smaller").forEach((old) => old.remove());
    if (crop.um && (!this.trueSizes || wanted > most)) {
      const bar = scaleBar(crop.um, factor, inner);
      if (bar) cell.append(bar);
    }
    if (this.trueSizes && wanted > most * 1.001) {
      const note = document.createElement("span");
      note.className = "smaller"; note.textContent = "⤡"; note.title = "larger than its place: shown smaller";
      cell.append(note);
    }
  }

  showCommonScale(shared, inner) {
    const known = this.trueSizes && this.crops.length && this.crops.every((crop) => crop.um > 0);
    this.commonScale.hidden = !known;
    if (!known) return;
    const length = niceLength(1.5 * inner / shared);
    this.commonScale.style.width = `${length * shared}px`;
    this.commonScale.style.minWidth = this.commonScale.style.width;
    this.commonScale.textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  }

  note(index) {
    // A crop was displayed if its image has loaded, and half of it was in view in a visible window.
    const image = this.cells[index] && this.cells[index].querySelector("img");
    if (!image || !this.inView[index] || document.visibilityState !== "visible") return;
    if (!image.complete || !image.naturalWidth) return;
    const before = this.displayed.size;
    this.displayed.add(this.crops[index].id);
    if (this.displayed.size > before) this.readyAt = performance.now();
  }

  get seconds() { return this.readyAt ? (performance.now() - this.readyAt) / 1000 : 0; }
  get hiddenBelow() { return this.crops.filter((crop, index) => !this.displayed.has(crop.id) && !this.cells[index].classList.contains("broken")).length; }
  get current() { return this.crops[this.focused]; }

  focus(index) {
    if (!this.cells.length) return;
    this.cells.forEach((cell) => { cell.classList.remove("focus"); cell.tabIndex = -1; });
    this.focused = Math.max(0, Math.min(index, this.cells.length - 1));
    const cell = this.cells[this.focused], crop = this.current;
    cell.classList.add("focus"); cell.tabIndex = 0;
    cell.focus({ preventScroll: true });
    cell.scrollIntoView({ block: "nearest" });
    this.about.textContent = describe(crop);
  }

  focusRow(direction) {
    // The crop above or below; over a heading, the one beside it.
    const tiles = [...this.place.children], at = tiles.indexOf(this.cells[this.focused]) + direction * this.columns;
    const tile = tiles[at] && (this.cells.includes(tiles[at]) ? tiles[at] : tiles[at + 1]);
    if (tile) this.focus(this.cells.indexOf(tile));
  }

  mark(index, odd) {
    const crop = this.crops[index];
    if (!crop) return;
    if (odd === undefined) odd = !this.marked.has(crop.id);
    if (odd) this.marked.add(crop.id); else this.marked.delete(crop.id);
    this.paintCell(this.cells[index], crop);
    if (this.changed) this.changed();
  }

  invert() { this.crops.forEach((_, index) => this.mark(index)); }

  pointerDown(event) {
    const cell = event.target.closest(".cell");
    if (!cell || event.button) return;
    event.preventDefault();
    const index = Number(cell.dataset.index);
    this.focus(index);
    this.painting = !this.marked.has(this.crops[index].id);
    this.mark(index, this.painting);
  }

  pointerMove(event) {
    if (this.painting === null) return;
    const under = document.elementFromPoint(event.clientX, event.clientY);
    const cell = under && under.closest(".cell");
    if (cell && this.place.contains(cell)) this.mark(Number(cell.dataset.index), this.painting);
  }

  key(event) {
    // Handles the arrows and the space bar; true if it did.
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in steps) {
      const next = this.focused + steps[event.key];
      if (next >= 0 && next < this.cells.length) this.focus(next);
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") this.focusRow(event.key === "ArrowDown" ? 1 : -1); else if (event.key === "Home") this.focus(0);
    else if (event.key === "End") this.focus(this.cells.length - 1);
    else if (event.key === "PageDown" || event.key === "PageUp") {
      this.place.scrollBy({ top: (event.key === "PageDown" ? 0.9 : -0.9) * this.place.clientHeight });
    } else if (event.key === " ") this.mark(this.focused);
    else return false;
    event.preventDefault();
    return true;
  }
}

function describe(crop) {
  if (!crop) return "";
  const size = crop.um ? `${Math.round(crop.width * crop.um).toLocaleString("en")} × ${Math.round(crop.height * crop.um).toLocaleString("en")} µm` : `${crop.width} × ${crop.height} px`;
  const other = crop.guess && crop.class && crop.guess !== crop.class ? ` · pre-label ${crop.guess}` : "";
  const score = crop.score === null ? "" : `${other} · probability ${crop.score.toFixed(2)}`;
  return `${crop.path} · ${size}${score}${crop.station ? ` · ${crop.station}` : ""}`;
}

function showLarge(place, crop) {
  const image = new Image();
  image.alt = crop.path;
  image.src = `/crops/${crop.id}/large`;
  place.replaceChildren(image);
  const box = place.getBoundingClientRect();
  const factor = Math.min((box.width - 24) / crop.width, (box.height - 24) / crop.height, 6);
  image.style.width = `${crop.width * factor}px`; image.style.height = `${crop.height * factor}px`;
  const bar = scaleBar(crop.um, factor, Math.min(box.width, 400));
  if (bar) place.append(bar);
}
