// What every page of the desk has: requests, messages, the number of waiting labels, the help with its key.
"use strict";

const desk = {
  tab: sessionStorage.getItem("desk-tab") || Math.random().toString(36).slice(2),
  waiting: 0,

  async post(path, said) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });
    } catch {
      throw new Error("The sheet page has ended. Confirmed labels are kept: type the pelagia label sheets command again, and open the address that it prints.");
    }
    let found = {};
    try { found = await answer.json(); } catch { /* a refusal in plain text */ }
    if (!answer.ok) throw new Error(found.message || "This page is too old: open the address that the command printed.");
    return found;
  },

  say(text, wrong = false) {
    const line = document.createElement("div");
    line.className = wrong ? "message wrong" : "message";
    line.textContent = text;
    const place = document.getElementById("messages");
    place.append(line);
    while (place.children.length > 3) place.firstChild.remove();
    setTimeout(() => line.remove(), wrong ? 9000 : 3500);
  },

  data() { return JSON.parse(document.getElementById("data").textContent); },

  async status() {
    const pill = document.getElementById("waiting");
    try {
      const found = await (await fetch("/status")).json();
      desk.waiting = found.waiting;
      pill.className = found.fault ? "pill fault" : found.waiting ? "pill busy" : "pill";
      const sent = !found.waiting ? "all labels are sent" : found.waiting === 1 ? "1 label waits to be sent" : `${found.waiting.toLocaleString("en")} labels wait to be sent`;
      const text = found.fault && found.waiting ? `${sent}: Label Studio does not answer` : sent;
      if (pill.textContent !== text) pill.textContent = text;
      pill.title = found.fault || "Labels that Label Studio does not have yet are safe on this computer";
    } catch {
      pill.className = "pill fault";
      pill.textContent = "the sheet page has ended";
    }
  },

  typing(event) { return event.target instanceof HTMLInputElement && event.target.type === "text"; },
  dialogOpen() { return document.querySelector("dialog[open]") !== null; },
};
sessionStorage.setItem("desk-tab", desk.tab);

window.addEventListener("beforeunload", (event) => { if (desk.waiting && !desk.leaving) event.preventDefault(); });
document.addEventListener("click", (event) => { if (event.target.closest("a[href^='/']")) desk.leaving = true; });
document.getElementById("help-button").addEventListener("click", () => document.getElementById("help").showModal());
document.addEventListener("keydown", (event) => {
  if (event.key === "?" && !desk.dialogOpen() && !(desk.typing(event) && event.target.value)) {
    event.preventDefault();
    document.getElementById("help").showModal();
  }
});
document.querySelectorAll("select[data-go]").forEach((select) => select.addEventListener("change", () => {
  desk.leaving = true;
  location.href = select.dataset.go + encodeURIComponent(select.value);
}));
desk.status();
setInterval(desk.status, 1500);
