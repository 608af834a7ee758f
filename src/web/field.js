/** The field in which a message is written: its text, its errors, and how much of the allowed length is used. */
import { $ } from "./dom.js";
import { chat } from "./state.js";

const MAX_ROWS = 10; // of the field, where the browser does not fit it to its text

export const max = () => chat.limits.max_message_chars ?? Infinity;
/** Counts code points, as the server does. */
export const lengthOf = (text) => [...text].length;

export function showSendError(text) {
  $("say-error").textContent = text;
  $("text").setAttribute("aria-invalid", String(text !== ""));
}

/** Shows the number of characters if it is near the limit. */
export function countCharacters() {
  const count = lengthOf($("text").value.trim());
  $("say-count").textContent = count > 0.8 * max() ? `${count} of ${max()} characters` : "";
  $("text").rows = Math.min($("text").value.split("\n").length, MAX_ROWS);
}

/** Replaces the text of the field. */
export function write(text) {
  $("text").value = text;
  countCharacters();
}

/** Replaces a part of the text, and puts the caret behind it. */
export function replacePart(start, end, text) {
  $("text").setRangeText(text, start, end, "end");
  countCharacters();
}
