// The keyboard, and pages that are made again when something on them changes. Everything works without this, but not live.
"use strict";

const { about, after } = document.body.dataset;
const find = (selector) => document.querySelector(selector);
const isListening = after !== undefined;

// --- Live ---

let revision = after, source, pending;

function listen() {
  if (!isListening || document.hidden || source) return;
  source = new EventSource(`/api/stream?after=${revision}`);
  source.onopen = () => say("live");
  source.onerror = () => say("offline");
  source.onmessage = ({ data, lastEventId }) => {
    revision = lastEventId;
    const { id, key } = JSON.parse(data);
    if (about === "" || about === id || about === key) pending ??= setTimeout(refresh, 150);
  };
}

// A browser opens six connections to one host: a page in the background gives its own back.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return listen();
  source?.close();
  source = undefined;
});

function say(state) {
  const live = find("#live");
  live.textContent = state;
  live.className = `live ${state}`;
}

async function refresh(url = location.href) {
  pending = undefined;
  const response = await fetch(url).catch(() => undefined);
  if (!response?.ok) return;
  const made = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-swap]");
  const shown = find("[data-swap]");
  if (!made || !shown) return;
  const known = new Set([...shown.querySelectorAll(".row a")].map((row) => row.href));
  for (const row of made.querySelectorAll(".row a")) {
    if (known.size && url === location.href && !known.has(row.href)) row.classList.add("new");
  }
  const open = [...shown.querySelectorAll("details")].map((details) => details.open);
  made.querySelectorAll("details").forEach((details, i) => { details.open = open[i] ?? false; });
  const focus = shown.contains(document.activeElement) ? document.activeElement : undefined;
  shown.replaceWith(made);
  const again = focus && [...made.querySelectorAll("a, button")].find((it) =>
    focus.id ? it.id === focus.id : it.href === focus.href && it.className.replace(" new", "") === focus.className);
  again?.focus({ preventScroll: true });
}

// --- Search ---

let typing;

find("#search")?.addEventListener("input", ({ target }) => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const url = new URL(location.href);
    url.searchParams.delete("before");
    if (target.value) url.searchParams.set("q", target.value);
    else url.searchParams.delete("q");
    await refresh(url.href);
    history.replaceState(null, "", url);
  }, 150);
});

find("#sample")?.addEventListener("change", ({ target }) => target.form.requestSubmit());

// --- Keyboard ---

function move(step) {
  const rows = [...document.querySelectorAll(".row a, a.row-link")];
  if (!rows.length) return find(step > 0 ? "#older" : "#newer")?.click();
  const at = rows.indexOf(document.activeElement);
  const to = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)];
  to.focus();
  to.scrollIntoView({ block: "nearest" });
}

async function copy() {
  const text = find("#curl")?.textContent;
  if (!text) return;
  await navigator.clipboard.writeText(text);
  const button = find("#copy"), label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

const keys = {
  j: () => move(1),
  k: () => move(-1),
  "/": () => { find("#search") ? find("#search").select() : location.assign("/?q="); },
  "?": () => find("#help").showModal(),
  u: () => find("#up")?.click(),
  r: () => find("#resend")?.click(),
  c: copy,
  t: () => find("#story")?.click(),
  w: () => location.assign("/"),
  p: () => location.assign("/parked"),
  f: () => location.assign("/find"),
  s: () => location.assign("/send"),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const isField = target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || find("#help").open) return;
  if (isField) {
    if (key === "Escape") target.blur();
    // From the search to its first hit.
    if (key === "Enter" && target.id === "search") { event.preventDefault(); target.blur(); move(1); }
    return;
  }
  if (Object.hasOwn(keys, key)) { event.preventDefault(); keys[key](); }
});

document.addEventListener("click", ({ target }) => {
  if (target.id === "copy") copy();
  if (target.id === "help-button") keys["?"]();
});

listen();
