/** Completes the text before the caret: people behind `@`, emoji behind `:`, commands behind `/`. */
import { make } from "./dom.js";
import { COMMANDS } from "./commands.js";
import { emojiBeginning, emojiOf } from "./emoji.js";
import { avatar } from "./messages.js";
import { chat, listed, nameOf } from "./state.js";

const MOST = 8; // choices shown

function people(part) {
  const { shown, me } = chat;
  const speakers = shown.items.slice(-200).map(({ user }) => user).filter(Boolean);
  const all = new Set([...speakers.reverse(), ...shown.members, ...listed("direct").map(({ name }) => name)]);
  const wanted = part.toLowerCase();
  const begins = (user) => [user, ...nameOf(user).split(" ")].some((word) => word.toLowerCase().startsWith(wanted));
  const found = [...all].filter((user) => user !== me && begins(user)).slice(0, MOST);
  if (found.length === 1 && found[0] === part) return [];
  return found.map((user) => {
    const name = nameOf(user);
    const parts = [avatar(user), name ? make("bdi", {}, name) : user, name ? ` (${user})` : ""];
    return { insert: `@${user} `, parts };
  });
}

function commands(part) {
  const found = COMMANDS.filter(([usage]) => usage.split(" ")[0].startsWith(part) && usage !== "//TEXT");
  if (found.some(([usage]) => usage.split(" ")[0] === part)) return [];
  return found.map(([usage, meaning]) => {
    const insert = usage.includes(" ") ? `${usage.split(" ")[0]} ` : usage;
    return { insert, parts: [make("code", {}, usage), ` ${meaning}`] };
  });
}

const emoji = (part) => emojiBeginning(part, MOST).map(([name, char]) => ({ insert: char, text: `${char} :${name}:` }));

/** Returns the choices for the text before the caret, and where the part begins that a choice replaces. */
export function completionsOf(before) {
  const [, command] = /^(\/[a-z]*)$/.exec(before) ?? [];
  if (command !== undefined) return { start: 0, options: commands(command) };
  const [, sign, part] = /(?:^|[\s(])([@:])([\w.@+-]*)$/.exec(before) ?? [];
  const start = before.length - (part?.length ?? 0) - 1;
  if (sign === "@") return { start, options: people(part) };
  if (sign === ":" && part.length >= 2) return { start, options: emoji(part) };
  return { start, options: [] };
}

/** Returns the emoji that a closing colon has named, and where its name begins; nothing if there is none. */
export function namedEmoji(before) {
  const [whole, name] = /:([\w+-]+):$/.exec(before) ?? [];
  const char = name && emojiOf(name);
  return char && { start: before.length - whole.length, char };
}

/** Replaces the names of emoji in a text, but for those in code. */
export function withEmoji(text) {
  return text.split(/(```[^]*?```|`[^`\n]*`)/).map((piece, index) => {
    if (index % 2) return piece;
    return piece.replace(/(?<![\w:]):([\w+-]+):(?![\w:])/g, (whole, name) => emojiOf(name) ?? whole);
  }).join("");
}
