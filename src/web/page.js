/** The parts of the page: its fields and what is wrong with what stands in them, its panels. */

export const $ = (id) => document.getElementById(id);

export const plural = (count, thing) => (count === 1 ? `1 ${thing}` : `${count} ${thing}s`);

/** A function that has `run` called with the next frame, once however often it was asked for. */
export function oncePerFrame(run) {
  const HIDDEN_MS = 100; // a page that nobody sees has no frames
  let isDue = false;
  const now = () => {
    isDue = false;
    run();
  };
  return () => {
    if (isDue) return;
    isDue = true;
    if (document.hidden) setTimeout(now, HIDDEN_MS);
    else requestAnimationFrame(now);
  };
}

/** How it stands with the connection. */
export function stateWords({ name, reason, code }) {
  const words = {
    connecting: "Connecting…", online: "Connected", waiting: "Connection lost, reconnecting",
    stopped: `Disconnected: ${reason || `code ${code}`}`,
  };
  return words[name] ?? "";
}

/** Shows what is wrong with a field, beside it; nothing when the text is empty. */
export function complain(field, text) {
  field.setAttribute("aria-invalid", String(text !== ""));
  $(`${field.id}-error`).textContent = text;
  if (text) field.focus();
}

export function isFine(field) {
  field.value = field.value.trim();
  complain(field, field.validity.valid ? "" : field.dataset.rule);
  return field.validity.valid;
}

/** Puts other items into a list: whoever stands on one with the keyboard stays on that of the same name. */
export function renew(list, items) {
  const name = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.name : undefined;
  list.replaceChildren(...items);
  if (name) items.find((item) => item.dataset.name === name)?.querySelector("button")?.focus();
}
export function named(name, item) {
  item.dataset.name = name;
  return item;
}

/** An error in a person's words. */
export function explain(error) {
  const words = {
    user_not_found: "Not delivered: nobody of this name is connected",
    unknown_outcome: "The connection was lost: this was sent, or not",
    offline: "Not connected",
  };
  return words[error.code] ?? error.message;
}

/** Nobody came in: says why, at the field that is to be changed. */
export function refused(error) {
  const reasons = {
    "User ID already in use": ["name", "Somebody has this name at the moment: take another"],
    "Invalid user ID": ["name", $("name").dataset.rule],
    "Invalid room": ["first-room", $("first-room").dataset.rule],
    "Room not allowed": ["first-room", "Your token does not let you into this room"],
    "Authentication failed": ["token", "This server asks for a token, and this is not a good one for this name"],
  };
  const [id, text] = reasons[error.message] ?? ["name", explain(error)];
  $("entry-state").textContent = "";
  $(id).closest("details")?.setAttribute("open", "");
  complain($(id), text);
}

/** On a phone the panels lie over the conversation, until the focus goes there. */
export function panels(isOpen) {
  $("panels").classList.toggle("open", isOpen);
  $("panels-toggle").setAttribute("aria-expanded", String(isOpen));
}
$("panels-toggle").addEventListener("click", () => panels(!$("panels").classList.contains("open")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !$("panels").classList.contains("open")) return;
  panels(false);
  $("panels-toggle").focus();
});
$("conversation").addEventListener("focusin", () => panels(false));
