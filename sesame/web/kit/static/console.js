// What the console does better with a script, and does without one. No library, nothing from elsewhere.
"use strict";

// A double click sends a form once.
for (const each of document.querySelectorAll("form[method=post]")) {
  each.addEventListener("submit", (event) => {
    if (each.dataset.sent) event.preventDefault();
    each.dataset.sent = "1";
    setTimeout(() => delete each.dataset.sent, 3000);
  });
}

// A page that is kept live: its part is replaced each time that the server sends it anew.
const state = document.getElementById("etat");
if (state && window.EventSource) {
  const spoken = document.getElementById("annonce");
  const said = () => state.querySelector("[data-annonce]")?.textContent ?? "";
  const live = (on) => {
    document.getElementById("direct").hidden = !on;
    document.getElementById("recharger").hidden = on;
  };
  let before = said();
  let refusals = 0;
  const open = () => {
    const stream = new EventSource(state.dataset.flux);
    stream.addEventListener("etat", (event) => {
      refusals = 0;
      live(true);
      if (state.contains(document.activeElement)) return; // not under the reader's fingers
      const opened = new Set([...state.querySelectorAll("details[open]")].map((each) => each.id));
      state.innerHTML = event.data; // made and escaped by the server, like the page itself
      for (const each of state.querySelectorAll("details")) each.open = opened.has(each.id);
      if (said() !== before) {
        before = said();
        spoken.textContent = before;
      }
    });
    stream.addEventListener("fin", () => {
      stream.close();
      live(false);
    });
    // A browser goes on by itself after a broken connection, and gives up after an answer that is an error.
    stream.addEventListener("error", () => {
      live(false);
      if (stream.readyState === EventSource.CLOSED && refusals < 20) {
        refusals += 1;
        setTimeout(open, Math.min(60, 2 ** refusals) * 1000);
      }
    });
  };
  open();
}

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
