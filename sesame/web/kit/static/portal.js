// What the pages do better with a script, and do without one. No library, nothing from elsewhere.
"use strict";

// Errors: the reader is taken to them. The page answers a form that was sent: whoever comes back to it later, or
// loads it again, gets the form anew, and not the browser's question whether to send the old one once more.
const errors = document.getElementById("erreurs");
if (errors) {
  errors.focus();
  history.replaceState(null, "", document.body.dataset.chemin);
}

// The password: shown on demand, and measured by the very check that it must pass.
const form = document.querySelector("form[data-meter]");
if (form) {
  const field = form.elements.namedItem("mot_de_passe");
  const again = form.elements.namedItem("confirmation");
  const show = document.getElementById("montrer");
  show.closest(".reveal").hidden = false;
  show.addEventListener("change", () => {
    for (const each of [field, again]) each.type = show.checked ? "text" : "password";
  });

  const box = form.querySelector(".meter");
  box.hidden = false; // from the beginning: what is below must not move away from under a click
  const meter = box.querySelector("meter");
  const words = document.getElementById("force");
  let timer = 0;
  let asked = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(measure, 350);
  });

  async function measure() {
    const turn = ++asked;
    if (field.value === "") {
      meter.value = 0;
      words.textContent = "";
      return;
    }
    const body = new URLSearchParams({ jeton: form.elements.namedItem("jeton").value, mot_de_passe: field.value });
    const sent = fetch(form.dataset.meter, { method: "POST", body, credentials: "same-origin" });
    const answer = await sent.catch(() => null); // a bad network: the form itself will tell
    if (!answer || !answer.ok || turn !== asked) return;
    const found = await answer.json();
    meter.value = found.strength;
    words.innerHTML = found.html; // made and escaped by the server, like the page itself
  }
}

// A double click sends a form once.
for (const each of document.querySelectorAll("form")) {
  each.addEventListener("submit", (event) => {
    if (each.dataset.sent) event.preventDefault();
    each.dataset.sent = "1";
    setTimeout(() => delete each.dataset.sent, 3000);
  });
}

// Where the account stands: kept live.
const state = document.getElementById("etat");
if (state && window.EventSource) {
  const spoken = document.getElementById("annonce");
  const said = () => {
    const line = state.querySelector("[data-annonce]");
    return line ? line.textContent : "";
  };
  let before = said();
  let refusals = 0;
  const open = () => {
    const stream = new EventSource(state.dataset.flux);
    stream.addEventListener("etat", (event) => {
      refusals = 0;
      if (state.contains(document.activeElement) && document.activeElement !== document.body) return; // not under the reader's fingers
      state.innerHTML = event.data; // made and escaped by the server, like the page itself
      if (said() !== before) {
        before = said();
        spoken.textContent = before;
      }
    });
    stream.addEventListener("fin", () => stream.close());
    // A browser goes on by itself after a broken connection, and gives up after an answer that is an error.
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED && refusals < 20) {
        refusals += 1;
        setTimeout(open, Math.min(60, 2 * 2 ** refusals) * 1000);
      }
    });
  };
  open();
}
