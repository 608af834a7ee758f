/** The address of the page says where the user is: `#/room/lobby` or `#/user/bob`. The back button leads back. */
import { ROOM, USER } from "./state.js";

const KINDS = { room: "room", user: "direct" };
const NAMES = { room: ROOM, direct: USER };

export function hashOf({ kind, name }) {
  return `#/${kind === "room" ? "room" : "user"}/${encodeURIComponent(name)}`;
}

/** Returns kind and name of the conversation in the address; nothing if there is none. */
export function placeOf(hash) {
  const [, word, encoded] = /^#\/(room|user)\/([^/]+)$/.exec(hash) ?? [];
  if (!word) return undefined;
  let name;
  try { name = decodeURIComponent(encoded); } catch { return undefined; } // a percent sign that encodes nothing
  const kind = KINDS[word];
  return NAMES[kind].test(name) ? { kind, name } : undefined;
}

/** Writes a conversation into the address. Without a conversation there before, the entry of the history is kept. */
export function writeAddress(conversation) {
  const hash = hashOf(conversation);
  if (location.hash === hash) return;
  const isFirst = placeOf(location.hash) === undefined;
  history[isFirst ? "replaceState" : "pushState"](null, "", hash);
}

/** Replaces the conversation in the address, so that the back button does not lead to the one that was there. */
export function replaceAddress(conversation) {
  history.replaceState(null, "", conversation ? hashOf(conversation) : location.pathname + location.search);
}

/** Calls `open(place)` when the user goes back or forward, or follows a link to a conversation. */
export function installRoute(open) {
  addEventListener("popstate", () => {
    const place = placeOf(location.hash);
    if (place) open(place);
  });
}
