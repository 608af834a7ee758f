/** Parts of the chat page: its fields and their errors, its panels. Importing it installs listeners on the page. */

export const $ = (id) => document.getElementById(id);

export const plural = (count, thing) => (count === 1 ? `1 ${thing}` : `${count} ${thing}s`);

/** Returns a function that schedules `run` for the next frame; several calls before the frame run it once. */
export function oncePerFrame(run) {
  const HIDDEN_MS = 100; // a hidden page has no frames
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

/** Returns the state of the connection in words. */
export function stateWords({ name, reason, code }) {
  const words = {
    connecting: "Connecting…", online: "Connected", waiting: "Connection lost, reconnecting",
    stopped: `Disconnected: ${reason || `code ${code}`}`,
  };
  return words[name] ?? "";
}

/** Shows the error of a field next to it; an empty text removes the error. */
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

/** Replaces the items of a list. If one of them had the focus, the new item of the same name gets it. */
export function renew(list, items) {
  const name = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.name : undefined;
  list.replaceChildren(...items);
  if (name) items.find((item) => item.dataset.name === name)?.querySelector("button")?.focus();
}
export function named(name, item) {
  item.dataset.name = name;
  return item;
}

/** Returns the text of an error for users. */
export function explain(error) {
  const words = {
    user_not_found: "Not delivered: no user of this name is connected",
    unknown_outcome: "The connection was lost: this may or may not have been sent",
    offline: "Not connected",
  };
  return words[error.code] ?? error.message;
}

/** Shows why the server refused the connection, at the field that has to be changed. */
export function refused(error) {
  const reasons = {
    "User ID already in use": ["name", "This name is in use at the moment: choose another"],
    "Invalid user ID": ["name", $("name").dataset.rule],
    "Invalid room": ["first-room", $("first-room").dataset.rule],
    "Room not allowed": ["first-room", "Your token does not let you into this room"],
    "Authentication failed": ["token", "This server requires a token, and this token is not valid for this name"],
  };
  const [id, text] = reasons[error.message] ?? ["name", explain(error)];
  $("entry-state").textContent = "";
  $(id).closest("details")?.setAttribute("open", "");
  complain($(id), text);
}

/** Opens or closes the panels, which cover the conversation on a phone. They close when it gets the focus. */
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
