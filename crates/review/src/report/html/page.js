(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // Theme: as the system says, or as the reader chose.
  const themes = ["auto", "light", "dark"];
  const store = {
    get() { try { return localStorage.getItem("deep-review-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("deep-review-theme", value); } catch { /* not kept, then */ } },
  };
  let theme = themes.includes(store.get()) ? store.get() : "auto";
  const button = $("theme");
  const paint = () => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    store.set(theme);
    paint();
  });
  button.hidden = false;
  paint();

  // Filters. The cards carry numbers; their text is read once.
  const cards = [...document.querySelectorAll("#findings .finding")].map((node) => ({
    node,
    severity: node.dataset.severity,
    reviewers: node.dataset.reviewers.split(" "),
    files: node.dataset.files.split(" "),
    text: node.textContent.toLowerCase(),
  }));
  const toggles = [...document.querySelectorAll(".toggle")];
  const reviewer = $("by-reviewer"), file = $("by-file"), text = $("by-text");
  const pressed = (toggle) => toggle.getAttribute("aria-pressed") === "true";
  const apply = () => {
    const severities = toggles.filter(pressed).map((t) => t.dataset.severity);
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const fits = severities.includes(card.severity)
        && (!reviewer.value || card.reviewers.includes(reviewer.value))
        && (!file.value || card.files.includes(file.value))
        && words.every((word) => card.text.includes(word));
      card.node.hidden = !fits;
      shown += fits;
    }
    for (const group of document.querySelectorAll("#findings .group")) {
      group.hidden = !group.querySelector(".finding:not([hidden])");
    }
    $("nothing").hidden = shown > 0 || cards.length === 0;
    $("shown").textContent = shown + " of " + cards.length;
  };
  const reset = () => {
    toggles.forEach((t) => t.setAttribute("aria-pressed", "true"));
    reviewer.value = file.value = text.value = "";
    apply();
  };
  toggles.forEach((t) => t.addEventListener("click", () => {
    t.setAttribute("aria-pressed", String(!pressed(t)));
    apply();
  }));
  [reviewer, file].forEach((s) => s.addEventListener("change", apply));
  text.addEventListener("input", apply);
  $("reset").addEventListener("click", () => { reset(); text.focus(); });

  const fold = $("fold");
  fold.addEventListener("click", () => {
    const open = fold.getAttribute("aria-pressed") !== "true";
    fold.setAttribute("aria-pressed", String(open));
    fold.textContent = open ? "Close all" : "Open all";
    for (const card of cards) card.node.querySelector("details").open = open;
  });
  document.querySelector(".filters").hidden = false;
  apply();

  // A link to a finding opens it, and lifts a filter that hides it.
  const visit = () => {
    const id = location.hash.slice(1);
    const card = cards.find((c) => c.node.id === id);
    if (!card) return;
    if (card.node.hidden) reset();
    card.node.querySelector("details").open = true;
    card.node.scrollIntoView();
  };
  addEventListener("hashchange", visit);
  visit();

  // Keys: / searches, j and k walk, Escape leaves the search.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape" && event.target === text) { text.value = ""; apply(); text.blur(); return; }
    if (typing) return;
    if (event.key === "/") { event.preventDefault(); text.focus(); return; }
    if (event.key !== "j" && event.key !== "k") return;
    const visible = cards.filter((c) => !c.node.hidden).map((c) => c.node.querySelector("summary"));
    if (!visible.length) return;
    const at = visible.indexOf(document.activeElement?.closest?.(".finding")?.querySelector("summary"));
    const next = event.key === "j" ? Math.min(at + 1, visible.length - 1) : Math.max(at - 1, 0);
    visible[next].focus();
    visible[next].scrollIntoView({ block: "center" });
  });

  // On paper everything is open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open]):not(.original)")];
    opened.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((d) => { d.open = false; }));
})();
