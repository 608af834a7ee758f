/** Commands behind a slash: the same as in `throng chat`. */
import { quit } from "./entry.js";
import { loadOlder } from "./history.js";
import { explain } from "./page.js";
import { enterRoom, leave, show } from "./rooms.js";
import { send } from "./send.js";
import { ROOM, USER, append, called, chat, conversations, keyOf, openConversation } from "./state.js";

const HISTORY_DEFAULT = 20, HISTORY_MAX = 100; // messages

/** The commands as /help lists them, each with its meaning. */
export const COMMANDS = [
  ["/join ROOM", "enter a room, and speak there"],
  ["/leave [ROOM]", "leave this room, or ROOM"],
  ["/room ROOM", "speak in another of your rooms"],
  ["/msg USER TEXT", "say something to one user alone"],
  ["/who", "list the users of this room"],
  ["/history [N]", `show ${HISTORY_DEFAULT} earlier messages of this room, or N (up to ${HISTORY_MAX})`],
  ["/help", "this list"],
  ["/quit", "leave the chat"],
  ["//TEXT", "say a text that begins with a slash"],
];
const USAGE = new Map(COMMANDS.map(([usage]) => [usage.split(" ")[0].slice(1), usage]));

/** Why a line has no meaning. */
class Mistake extends Error {}

const note = (text) => append(chat.shown, { kind: "notice", text });
function roomOf(words, usage) {
  if (words.length !== 1) throw new Mistake(`Usage: ${usage}`);
  if (!ROOM.test(words[0])) throw new Mistake("A room has 1 to 64 of A–Z a–z 0–9 _ . : @ -");
  return words[0];
}
function inRoom(name) {
  const room = name === undefined ? chat.shown : conversations.get(keyOf("room", name));
  if (room?.kind !== "room") throw new Mistake(name === undefined ? "This is not a room" : `You are not in ${name}`);
  return room;
}

const RUN = {
  join: (words, usage) => enterRoom(roomOf(words, usage)),
  room: (words, usage) => show(inRoom(roomOf(words, usage))),
  leave: (words, usage) => leave(inRoom(words.length ? roomOf(words, usage) : undefined)),
  msg: (words, usage, rest) => {
    const [, user, text] = /^(\S+)\s+([^]+)$/.exec(rest) ?? [];
    if (!text) throw new Mistake(`Usage: ${usage}`);
    if (!USER.test(user)) throw new Mistake("A user id has 3 to 64 of A–Z a–z 0–9 _ . : @ -");
    const conversation = openConversation("direct", user);
    show(conversation);
    send(conversation, text);
  },
  who: () => {
    const { members, memberCount } = inRoom();
    const more = memberCount > members.size ? `, and ${memberCount - members.size} more` : "";
    note(`${[...members].sort().map(called).join(", ")}${more}`);
  },
  history: ([word]) => {
    const count = Number(word ?? HISTORY_DEFAULT);
    if (!(Number.isInteger(count) && count >= 1 && count <= HISTORY_MAX)) {
      throw new Mistake(`/history takes a number from 1 to ${HISTORY_MAX}`);
    }
    return loadOlder(inRoom(), count);
  },
  help: () => COMMANDS.forEach(([usage, meaning]) => note(`${usage} – ${meaning}`)),
  quit,
};
const MOST_WORDS = { who: 0, help: 0, quit: 0, history: 1 };

/** Returns what is to be said if a line is no command; `//` at its beginning stands for one slash. */
export function textOf(line) {
  if (line.startsWith("//")) return line.slice(1);
  return line.startsWith("/") ? undefined : line;
}

/** Carries a command out. Returns why it cannot be; nothing if all is well. */
export async function run(line) {
  const [, name, rest] = /^\/(\S*)\s*([^]*)$/.exec(line);
  const usage = USAGE.get(name), words = rest.split(/\s+/).filter(Boolean);
  if (!usage) return `No such command: /${name.slice(0, 20)} (/help lists them; // says a text that begins with /)`;
  try {
    if (words.length > (MOST_WORDS[name] ?? Infinity)) throw new Mistake(`Usage: ${usage}`);
    await RUN[name](words, usage, rest);
  } catch (error) {
    return error instanceof Mistake ? error.message : explain(error);
  }
}
