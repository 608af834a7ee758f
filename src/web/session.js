/**
 * Keeps the chat over a reload of the page, in the session storage of its tab: the name, the places in the rooms,
 * private conversations, drafts and what was not sent.
 */
import { $ } from "./dom.js";
import { append, chat, conversations, openConversation, rememberName } from "./state.js";

const KEY = "throng.session";
const MAX_SAVED_LINES = 100; // of one private conversation, which the server does not keep
const MAX_SAVED_CONVERSATIONS = 100; // private ones
const UNKNOWN = "The page was loaded anew before an answer came: this may or may not have been sent";

function linesOf({ kind, items }) {
  const kept = items.slice(-MAX_SAVED_LINES).filter((item) => {
    return ["pending", "failed"].includes(item.kind) || kind === "direct" && item.kind === "message";
  });
  return kept.map((item) => (item.kind === "pending" ? { ...item, kind: "failed", error: UNKNOWN } : item));
}

/** Keeps the chat as it is now. The token is kept with it, for the next connection. */
export function keep() {
  if (!chat.client || !chat.shown) return;
  chat.shown.draft = $("text").value;
  const all = [...conversations.values()];
  const kept = [...all.filter(({ kind }) => kind === "room"),
    ...all.filter(({ kind }) => kind === "direct").slice(-MAX_SAVED_CONVERSATIONS)];
  const saved = kept.map((conversation) => {
    const { kind, name, draft, unread, mentions, newId } = conversation;
    return { kind, name, draft, unread, mentions, newId, lines: linesOf(conversation) };
  });
  const { me: user, name, token, client, shown } = chat;
  const session = { user, name, token, position: client.position, shown: shown.key, saved };
  // Without space in the storage, the name and the rooms are kept, and the lines are not.
  for (const each of [session, { ...session, saved: saved.map((one) => ({ ...one, lines: [] })) }]) {
    try { return sessionStorage.setItem(KEY, JSON.stringify(each)); } catch {}
  }
}

/** Forgets what was kept. */
export function forget() {
  try { sessionStorage.removeItem(KEY); } catch {} // there is no storage
}

/** Returns what was kept; nothing if there is nothing. */
export function kept() {
  try {
    const session = JSON.parse(sessionStorage.getItem(KEY));
    return session?.user && Array.isArray(session.saved) ? session : undefined;
  } catch {
    return undefined; // no storage, or not ours
  }
}

/** Opens the conversations that were kept. */
export function restore({ saved }) {
  for (const { lines, draft, unread, mentions, newId, ...place } of saved) {
    const conversation = openConversation(place.kind, place.name);
    Object.assign(conversation, { draft, unread, mentions, newId, isRestored: true });
    for (const line of lines) {
      rememberName(line.user, line.name);
      append(conversation, line);
    }
  }
}

export function installSession() {
  addEventListener("pagehide", keep);
  document.addEventListener("visibilitychange", () => { if (document.hidden) keep(); });
}
