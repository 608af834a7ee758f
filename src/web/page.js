/** Parts of the chat page: its fields and their errors, its panels, and its words for states and errors. */
import { $ } from "./dom.js";

/** The reason for which the server refuses a name that somebody has. */
export const IN_USE = "User ID already in use";
const TAKEN = "This name is in use at the moment: choose another. If it is you, open Settings on the other device and "
  + "choose “Continue on another device”, or leave the chat there. If that device is lost, wait a moment and try again";
/** Said to somebody who wants back what went on elsewhere. */
export const HELD = "The other device is in the chat under your name. To come back, open Settings there and choose "
  + "“Continue on another device”, or leave the chat there and connect again here";
const REPLACED = 4501; // close code: another connection has taken the name over, or an operator ended this one

/** Returns the state of the connection in words. */
export function stateWords({ name, reason, code }) {
  const words = {
    connecting: "Connecting…", online: "Connected", waiting: "Connection lost, reconnecting",
    stopped: code === REPLACED && reason !== "Kicked"
      ? "You went on in another tab or on another device"
      : reason === IN_USE ? "Your name is in use on another device" : `Disconnected: ${reason || `code ${code}`}`,
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
    [IN_USE]: ["name", TAKEN],
    "Invalid user ID": ["name", $("name").dataset.rule],
    "Invalid name": ["name", $("name").dataset.rule],
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

export function installPanels() {
  $("panels-toggle").addEventListener("click", () => panels(!$("panels").classList.contains("open")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !$("panels").classList.contains("open")) return;
    panels(false);
    $("panels-toggle").focus();
  });
  $("conversation").addEventListener("focusin", () => panels(false));
}
