// What the console does better with a script, and does without one. No library, nothing from elsewhere.
"use strict";

// The palette: Ctrl-K, then a place by its name, or whatever is looked for.
const palette = document.getElementById("palette");
if (palette) {
  const field = palette.querySelector("input");
  const list = palette.querySelector("ul");
  const places = [...document.querySelectorAll("#rubriques a")];
  const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const fill = () => {
    const wanted = fold(field.value.trim());
    list.replaceChildren();
    for (const place of places) {
      const words = place.firstElementChild.textContent;
      if (!fold(words).includes(wanted)) continue;
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = place.href;
      link.textContent = words;
      item.append(link);
      list.append(item);
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (palette.open) return palette.close();
    field.value = "";
    fill();
    palette.showModal();
    field.focus();
  });
  field.addEventListener("input", fill);
  palette.querySelector("form").addEventListener("submit", (event) => {
    const first = list.querySelector("a");
    if (!first || field.value.trim() === "") return; // what is no place is looked for
    event.preventDefault();
    location.assign(first.href);
  });
  palette.addEventListener("keydown", (event) => {
    const links = [...list.querySelectorAll("a")];
    const place = links.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    (links[place + step] ?? (step > 0 ? links[0] : field))?.focus();
  });
}

// The text of a report, to the clipboard; without a script it is selected by hand.
document.addEventListener("click", (event) => {
  const { copie, dit } = event.target.dataset;
  const text = copie && document.getElementById(copie);
  if (!text) return;
  text.select();
  navigator.clipboard?.writeText(text.value);
  document.getElementById("annonce").textContent = dit;
});
