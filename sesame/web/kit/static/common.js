// What every page does better with a script, and does without one. No library, nothing from elsewhere.
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
    // where a page says which it is
    document.getElementById("direct")?.toggleAttribute("hidden", !on);
    document.getElementById("recharger")?.toggleAttribute("hidden", on);
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
      for (const each of state.querySelectorAll("details[id]")) each.open = opened.has(each.id);
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
        setTimeout(open, Math.min(60, 2 * 2 ** refusals) * 1000);
      }
    });
  };
  open();
}
