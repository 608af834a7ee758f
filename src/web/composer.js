/** Writing a message: Enter sends, what is typed is completed, and Arrow up brings back what was not sent. */
import { run, textOf } from "./commands.js";
import { completionsOf, namedEmoji, withEmoji } from "./complete.js";
import { $ } from "./dom.js";
import { countCharacters, lengthOf, max, replacePart, showSendError, write } from "./field.js";
import { Listbox } from "./listbox.js";
import { send, takeBack } from "./send.js";
import { chat } from "./state.js";

const TYPING_EVERY_MS = 2_000; // shortest time between two typing events of this user

let lastTypedAt = -Infinity;
let completions;
let start = 0; // where the part begins that a completion replaces

function suggest() {
  const { value, selectionStart, selectionEnd } = $("text");
  const before = value.slice(0, selectionStart);
  const found = selectionStart === selectionEnd ? completionsOf(before) : { start: 0, options: [] };
  start = found.start;
  completions.show(found.options);
}

function complete({ insert }) {
  completions.close();
  replacePart(start, $("text").selectionStart, insert);
}

async function submit() {
  completions.close();
  const line = $("text").value.trim();
  if (!line) return;
  const said = textOf(line);
  if (said === undefined) {
    const conversation = chat.shown;
    write("");
    const mistake = await run(line);
    if (mistake && conversation === chat.shown && $("text").value === "") write(line);
    return showSendError(mistake ?? "");
  }
  const text = withEmoji(said);
  const count = lengthOf(text);
  if (count > max()) return showSendError(`Too long: ${count} characters where ${max()} are allowed. Nothing was sent`);
  write("");
  if (chat.client.queued === 0) showSendError("");
  lastTypedAt = -Infinity; // typing is shown to the others at once when it goes on
  send(chat.shown, text);
}

function pressed(event) {
  // In Safari, the Enter that ends a composition has the key code 229.
  if (event.isComposing || event.keyCode === 229) return;
  const { key, shiftKey, altKey, ctrlKey, metaKey } = event;
  if (altKey || ctrlKey || metaKey) return;
  if (!shiftKey && completions.press(event)) {
    event.preventDefault();
    event.stopPropagation(); // Escape closes the list alone
  } else if (key === "Enter" && !shiftKey) {
    event.preventDefault();
    $("say").requestSubmit();
  } else if (key === "ArrowUp" && $("text").value === "") {
    const text = takeBack(chat.shown);
    if (text === undefined) return;
    event.preventDefault();
    write(text);
  }
}

function typed({ inputType }) {
  const field = $("text");
  const named = inputType?.startsWith("delete") ? null : namedEmoji(field.value.slice(0, field.selectionStart));
  if (named) replacePart(named.start, field.selectionStart, named.char);
  countCharacters();
  suggest();
  const { shown, client } = chat;
  const isCommand = textOf(field.value) === undefined;
  if (shown.kind !== "room" || isCommand || performance.now() - lastTypedAt < TYPING_EVERY_MS) return;
  lastTypedAt = performance.now();
  client.typing(shown.name);
}

/** Inserts pasted lines as one text, without the empty lines around them, so that they are one message. */
function pasted(event) {
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (!/[\r\n]/.test(text)) return;
  event.preventDefault();
  const lines = text.replace(/\r\n?/g, "\n").replace(/^\n+|\s+$/g, "");
  replacePart($("text").selectionStart, $("text").selectionEnd, lines);
}

export function installComposer() {
  completions = new Listbox($("completions"), $("text"), complete);
  $("say").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("text").addEventListener("keydown", pressed);
  $("text").addEventListener("input", typed);
  $("text").addEventListener("paste", pasted);
  $("text").addEventListener("blur", () => completions.close());
}
