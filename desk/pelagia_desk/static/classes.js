// Search-as-you-type over all classes: classes that begin with the text come first, then those that contain it.
"use strict";

class ClassSearch {
  constructor(input, list, classes, take) {
    this.input = input; this.list = list; this.classes = classes; this.take = take; this.found = []; this.at = 0;
    input.addEventListener("input", () => this.update());
    list.addEventListener("click", (event) => {
      const item = event.target.closest("li");
      if (item) this.take(item.dataset.name);
    });
  }

  clear(everything = false) { this.input.value = ""; this.update(everything); }

  update(everything = false) {
    const text = this.input.value.trim().toLowerCase();
    const rank = (entry) => {
      const names = [entry.title.toLowerCase(), entry.name.toLowerCase()];
      if (names.some((name) => name.startsWith(text))) return 0;
      if (names.some((name) => name.split(/[^a-z0-9]+/).some((word) => word.startsWith(text)))) return 1;
      return names.some((name) => name.includes(text)) ? 2 : 3;
    };
    const ranked = text || everything ? this.classes.map((entry) => [rank(entry), entry]).filter(([how]) => how < 3) : [];
    ranked.sort((one, other) => one[0] - other[0]);
    this.found = ranked.map(([, entry]) => entry).slice(0, 200);
    this.at = text ? 0 : -1;  // Enter alone chooses nothing
    this.list.replaceChildren(...this.found.map((entry, index) => {
      const item = document.createElement("li");
      item.setAttribute("role", "option");
      item.id = `${this.list.id}-${index}`;
      item.dataset.name = entry.name;
      item.textContent = entry.title === entry.name ? entry.name : `${entry.title} (${entry.name})`;
      return item;
    }));
    if (text && !this.found.length) {
      const item = document.createElement("li");
      item.textContent = "no class has this in its name";
      this.list.append(item);
    }
    this.select();
  }

  select() {
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", index === this.at && this.found.length > 0));
    const item = this.list.children[this.at];
    if (item) { item.scrollIntoView({ block: "nearest" }); this.input.setAttribute("aria-activedescendant", item.id); }
  }

  key(event) {
    // Handles arrows and Enter; true if it did.
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.at = Math.max(0, Math.min(this.found.length - 1, this.at + (event.key === "ArrowDown" ? 1 : -1)));
      this.select();
    } else if (event.key === "Enter" && this.found.length) {
      if (!event.repeat && this.at >= 0) this.take(this.found[this.at].name);
    } else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }
}
