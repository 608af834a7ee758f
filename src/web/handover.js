/**
 * Another device of the same person: makes a link with the session of this page, and takes one. The secret is behind
 * `#`, which browsers send to no server. A token is never in it: with one, people enter anywhere.
 */
import { $ } from "./dom.js";
import { complain } from "./page.js";
import { ROOM, USER, chat } from "./state.js";

const START = "#continue?";
const SESSION = /^[\w-]{1,64}$/;
const MAX_ROOMS = 50; // in one link, so that it is not too long to be copied

/** Returns the link to the chat as it is now; nothing without a connection. */
function link() {
  const { client, me: user, name, shown } = chat;
  if (client?.state.name !== "online") return "";
  const { session } = client.position;
  const all = client.rooms.filter((room) => room !== shown?.name).slice(0, MAX_ROOMS - 1);
  const rooms = shown?.kind === "room" ? [shown.name, ...all] : all;
  const fields = [["user", user], ["session", session], ...(name ? [["name", name]] : [])];
  const parameters = new URLSearchParams([...fields, ...rooms.map((room) => ["room", room])]);
  return `${location.origin}${location.pathname}${START}${parameters}`;
}

/**
 * Takes what a link brought, and removes it from the address and the history. Returns nothing if there is no such link,
 * or if it is broken, which is shown at the form.
 */
export function takeHandover() {
  if (!location.hash.startsWith(START)) return undefined;
  const parameters = new URLSearchParams(location.hash.slice(START.length));
  history.replaceState(null, "", location.pathname + location.search);
  const [user, session, name] = ["user", "session", "name"].map((field) => parameters.get(field) ?? "");
  const rooms = parameters.getAll("room").filter((room) => ROOM.test(room)).slice(0, MAX_ROOMS);
  if (USER.test(user) && SESSION.test(session) && rooms.length) {
    return { user, name, position: { session, rooms: rooms.map((room) => ({ name: room, epoch: null, offset: 0 })) } };
  }
  complain($("name"), "This link is not whole: copy it again on the other device");
  return undefined;
}

function reveal() {
  $("handover-link").value = link();
  const isThere = $("handover-link").value !== "";
  $("handover-way").hidden = !isThere;
  $("handover-state").textContent = isThere ? "" : "This works while you are connected";
  if (isThere) $("handover-link").select();
}

async function copy() {
  reveal();
  const { value } = $("handover-link");
  if (!value) return;
  try {
    await navigator.clipboard.writeText(value);
    $("handover-state").textContent = "Copied";
  } catch {
    $("handover-state").textContent = "Your browser does not let this page copy: copy the text of the field";
  }
}

/** Installs the link in the settings. `onLink()` is called when one is opened in this tab. */
export function installHandover(onLink) {
  $("handover-open").addEventListener("click", reveal);
  $("handover-copy").addEventListener("click", copy);
  $("settings-open").addEventListener("click", () => { $("handover").hidden = chat.token !== undefined; });
  // Nobody who looks on later sees it.
  $("settings").addEventListener("close", () => {
    $("handover-link").value = $("handover-state").textContent = "";
    $("handover-way").hidden = true;
  });
  addEventListener("hashchange", () => { if (location.hash.startsWith(START)) onLink(); });
}
