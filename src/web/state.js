/** The state of the page: who is here, and the conversations with what was said in them. It draws nothing. */

const MAX_LINES = 50_000; // lines kept of one conversation; older messages of a room can be loaded again
const MAX_LINES_OF_ALL = 100_000; // lines kept of all conversations
const TRIM = 500; // lines dropped at once
const MAX_PRIVATE = 500; // private conversations: strangers can open them, too
const MAX_NAMES = 20_000; // names for people that are remembered

/** The connection, the user's id, name for people and token, the server's limits, and the shown conversation. */
export const chat = { client: null, me: "", name: "", token: undefined, limits: {}, shown: null };
/** Rooms and private conversations by their key, "#room" or "@user". */
export const conversations = new Map();
/** Names for people, by user id. */
const names = new Map();
/** Told of every change of the lines of the shown conversation. */
let watcher = () => {};

/** Names of rooms, and ids of users. */
export const ROOM = /^[\w.:@-]{1,64}$/, USER = /^[\w.:@-]{3,64}$/;

export const keyOf = (kind, name) => (kind === "room" ? "#" : "@") + name;
export const listed = (kind) => [...conversations.values()].filter((conversation) => conversation.kind === kind);

export function openConversation(kind, name) {
  const key = keyOf(kind, name);
  if (!conversations.has(key)) {
    if (kind === "direct") makeSpace();
    conversations.set(key, {
      key, kind, name, items: [], unread: 0, mentions: 0, below: 0, newId: "", notice: "", draft: "", last: null,
      members: new Set(), memberCount: 0, typing: new Map(), hasOlder: false, isLoading: false,
    });
  }
  return conversations.get(key);
}

/** Forgets the oldest private conversation if there are too many. */
function makeSpace() {
  const all = listed("direct");
  const oldest = all.find((conversation) => conversation !== chat.shown);
  if (all.length >= MAX_PRIVATE) conversations.delete(oldest.key);
}

/** Forgets everything but the settings. */
export function forgetAll() {
  conversations.clear();
  names.clear();
  Object.assign(chat, { client: null, me: "", name: "", token: undefined, shown: null });
}

export function rememberName(user, name) {
  if (!name || name === user) return;
  if (names.size >= MAX_NAMES && !names.has(user)) names.delete(names.keys().next().value);
  names.set(user, name);
}
export const rememberNames = (all) => Object.entries(all ?? {}).forEach(([user, name]) => rememberName(user, name));
/** Returns the name for people of a user; an empty text if there is none. */
export const nameOf = (user) => names.get(user) ?? "";
/** Returns how a user is called in a sentence. The name is the user's own choice, so the id stands beside it. */
export const called = (user) => (names.has(user) ? `${names.get(user)} (${user})` : user);

/** Whether an item was said by somebody, and is no notice. */
export const isSaid = (item) => ["message", "pending", "failed"].includes(item?.kind);

/** Calls `watch(index, removed, added)` after every change of the lines of the shown conversation. */
export function watchLines(watch) { watcher = watch; }

/** Replaces `removed` lines at an index by others. */
export function splice(conversation, index, removed, ...items) {
  conversation.items.splice(index, removed, ...items);
  if (conversation === chat.shown) watcher(index, removed, items.length);
}

/** Adds a line at the end. The oldest lines make way if there are too many. */
export function append(conversation, item) {
  item.ts ??= Date.now();
  rememberName(item.user, item.name);
  splice(conversation, conversation.items.length, 0, item);
  if (item.kind === "message") conversation.last = item;
  if (conversation.items.length % TRIM === 0) trim();
}

function trim() {
  const all = [...conversations.values()];
  const sum = () => all.reduce((count, { items }) => count + items.length, 0);
  const longest = () => all.reduce((most, each) => (each.items.length > most.items.length ? each : most));
  while (longest().items.length > MAX_LINES || sum() > MAX_LINES_OF_ALL) {
    const conversation = longest();
    conversation.hasOlder ||= conversation.kind === "room";
    splice(conversation, 0, TRIM);
  }
}

/** Removes a line if it is still there. */
export function remove(conversation, item) {
  const index = conversation.items.lastIndexOf(item);
  if (index >= 0) splice(conversation, index, 1);
}

/** Counts a message that the user has not seen; the first one of them is marked as new. */
export function countUnread(conversation, item, isMention) {
  if (conversation.unread === 0) conversation.newId = item.id ?? "";
  conversation.unread += 1;
  conversation.mentions += isMention ? 1 : 0;
}

/** Whether a text calls the user by `@id`. */
export function mentionsMe(text) {
  const at = `@${chat.me}`.toLowerCase();
  const lower = text.toLowerCase();
  for (let index = lower.indexOf(at); index >= 0; index = lower.indexOf(at, index + 1)) {
    const isFree = (char) => char === undefined || !/[\w@-]/.test(char);
    // A full stop or a colon may end the sentence, or go on with another id.
    const rest = lower.slice(index + at.length);
    if (isFree(lower[index - 1]) && isFree(rest[0]) && !/^[.:][\w-]/.test(rest)) return true;
  }
  return false;
}
