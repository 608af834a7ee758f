/** The form at the door, and the way out. The id is derived from the name that the user chooses. */
import { offerRooms } from "./browse.js";
import { Client } from "./client.js";
import { $, make } from "./dom.js";
import { listen } from "./events.js";
import { installHandover, takeHandover } from "./handover.js";
import { renderLists } from "./lists.js";
import { redraw } from "./log.js";
import { avatar, nameTag } from "./messages.js";
import { HELD, IN_USE, complain, isFine, refused } from "./page.js";
import { notify, show, visit } from "./rooms.js";
import { placeOf, replaceAddress, writeAddress } from "./route.js";
import { forget, keep, kept, restore } from "./session.js";
import { USER, chat, conversations, forgetAll, keyOf, openConversation, rememberName } from "./state.js";
import { answerTabs, sessionElsewhere } from "./tabs.js";

const MAX_NAME_CHARS = 64;
const FORBIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u; // in a name
const MAX_BASE_CHARS = 48; // of an id; the rest is for the part that makes it differ

/** Returns eight characters that differ with the text. */
function digest(text) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(36).slice(-8);
}

/** Derives an id from a name in any script. The same name always gives the same id. */
export function idOf(name) {
  if (USER.test(name)) return name;
  const latin = name.normalize("NFKD").replace(/\p{M}/gu, "").replace(/ß/g, "ss");
  const base = latin.replace(/[^\w.:@-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, MAX_BASE_CHARS);
  const isWhole = !/[^\w.:@\s-]/.test(latin) && USER.test(base);
  return isWhole ? base : [...(base ? [base] : ["user"]), digest(name)].join("-");
}

/** Whether the server allows a name: control characters and such that change the direction of text are not. */
export function isName(name) {
  return name.trim() !== "" && [...name].length <= MAX_NAME_CHARS && !FORBIDDEN.test(name);
}

/** Reads the claims of a token without checking them, which is up to the server. */
function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (char) => {
      return char.charCodeAt(0);
    });
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

function whoAmI() {
  $("who-am-i").replaceChildren(avatar(chat.me), make("span", { className: "label" }, nameTag(chat.me, chat.name)));
}

/**
 * Connects, and shows the chat. Refusals are shown at the fields of the form. A user who comes back finds the
 * conversation `back` as it was.
 */
async function enter({ user, name = "", room, token, position, back }) {
  chat.client?.close(); // the form was submitted again: the last submission counts
  if (!back) forgetAll();
  const client = new Client({ user, name: name || undefined, room, token, position });
  Object.assign(chat, { client, me: user, name, token });
  rememberName(user, name);
  $("go-on").hidden = true;
  listen(client);
  const place = placeOf(location.hash);
  if (back) open(back, place ? () => {} : writeAddress);
  try {
    await client.connect();
  } catch (error) {
    if (client !== chat.client) return;
    if (back) closeChat();
    refused(error);
    return offerToGoOn(error, { user, name, room, token });
  }
  if (client !== chat.client) return;
  if (!back) open(openConversation("room", client.rooms[0]), replaceAddress);
  keep();
  const isElsewhere = place && keyOf(place.kind, place.name) !== chat.shown?.key;
  if (isElsewhere && (back || place.kind === "direct")) await visit(place, writeAddress);
}

/** Offers to go on here if another tab of this browser holds the name. */
async function offerToGoOn({ message }, request) {
  if (message !== IN_USE) return;
  const session = await sessionElsewhere(request.user);
  if (!session || chat.shown) return;
  complain($("name"), "You are in the chat under this name, in another tab");
  $("go-on").hidden = false;
  $("go-on").onclick = () => enter({ ...request, position: { session, rooms: [] } });
}

/** Connects again after the connection has ended for good. Another tab that has the name since then gives it back. */
async function again() {
  const { client, me: user, name, token, shown } = chat;
  const session = await sessionElsewhere(user);
  if (client !== chat.client) return;
  // The state shows the reason.
  if (!session) return client.connect().catch(({ message }) => message === IN_USE && notify(shown, HELD));
  enter({ user, name, token, position: { ...client.position, session }, back: shown });
}

function open(conversation, address) {
  $("entry").hidden = true;
  $("chat").hidden = false;
  whoAmI();
  offerRooms();
  show(conversation, address);
}

function closeChat() {
  forgetAll();
  redraw();
  renderLists();
  $("chat").hidden = true;
  $("entry").hidden = false;
}

/** Leaves the chat: nothing of it is kept, and the next one may enter. */
export function quit() {
  chat.client?.close();
  forget();
  closeChat();
  replaceAddress(null);
  $("token").value = "";
  $("name").focus();
}

function submitted(event) {
  event.preventDefault();
  const token = $("token").value.trim() || undefined;
  complain($("token"), "");
  const claims = token ? claimsOf(token) : {};
  $("name").value ||= claims.name ?? claims.sub ?? "";
  if (![$("first-room"), $("name")].map(isFine).every(Boolean)) return;
  const typedName = $("name").value;
  if (!isName(typedName)) return complain($("name"), $("name").dataset.rule);
  const user = claims.sub ?? idOf(typedName);
  const name = token ? claims.name ?? "" : typedName; // where tokens count, theirs does
  enter({ user, name: name === user ? "" : name, room: $("first-room").value, token });
}

function showId() {
  const name = $("name").value.trim();
  const id = isName(name) ? idOf(name) : "";
  $("name-id").textContent = id && id !== name ? `Your id, for @ and for addresses: ${id}` : "";
}

/** Goes on with the chat of another device if the address has its link. */
function continueHere() {
  const handover = takeHandover();
  if (!handover) return false;
  if (chat.shown) quit();
  $("name").value = handover.name || handover.user;
  enter(handover);
  return true;
}

/** Installs the form. Enters at once if this tab was in the chat before. */
export function installEntry() {
  $("enter").addEventListener("submit", submitted);
  $("name").addEventListener("input", showId);
  $("quit").addEventListener("click", quit);
  $("again").addEventListener("click", again);
  answerTabs((user) => {
    const isHere = user === chat.me && chat.client?.state.name === "online";
    return isHere ? chat.client.position.session : undefined;
  });
  installHandover(continueHere);
  if (continueHere()) return;
  const parameters = new URLSearchParams(location.search);
  const place = placeOf(location.hash);
  if (parameters.has("name")) $("name").value = parameters.get("name");
  if (parameters.has("room")) $("first-room").value = parameters.get("room");
  if (place?.kind === "room") $("first-room").value = place.name;
  const session = kept();
  if (!session) return $("name").focus();
  restore(session);
  const { user, name, token, position, shown } = session;
  $("name").value = name || user;
  const key = place ? keyOf(place.kind, place.name) : shown;
  enter({ user, name, token, position, back: conversations.get(key) ?? conversations.get(shown) });
}
