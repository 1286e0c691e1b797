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
    for (const rule of form.querySelectorAll("[data-rule]")) {
      const broken = found.broken.includes(rule.dataset.rule);
      rule.classList.toggle("broken", broken);
      rule.classList.toggle("kept", !broken);
    }
    words.innerHTML = found.html; // made and escaped by the server, like the page itself
  }
}
