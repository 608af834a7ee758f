/** Ctrl+K: goes to a room or a person by the beginning of the name. */
import { $ } from "./dom.js";
import { Listbox } from "./listbox.js";
import { avatar } from "./messages.js";
import { explain } from "./page.js";
import { enterRoom, notify, show } from "./rooms.js";
import { ROOM, chat, conversations, nameOf, openConversation } from "./state.js";

const MOST = 10; // choices shown

let choices;

/** Returns the places whose name contains the text; the ones that begin with it come first. */
function placesFor(text) {
  const wanted = text.trim().replace(/^[#@]/, "").toLowerCase();
  const known = [...conversations.values()].map(({ kind, name }) => ({ kind, name }));
  const people = [...chat.shown.members]
    .filter((user) => user !== chat.me && !conversations.has(`@${user}`))
    .map((name) => ({ kind: "direct", name }));
  const rank = ({ name }) => Math.min(...[name, nameOf(name)].filter(Boolean).map((each) => {
    const at = each.toLowerCase().indexOf(wanted);
    return at < 0 ? Infinity : Math.min(at, 1);
  }));
  const found = [...known, ...people].filter((place) => rank(place) < Infinity).sort((a, b) => rank(a) - rank(b));
  const places = found.slice(0, MOST).map((place) => ({ ...place, parts: partsOf(place) }));
  const room = text.trim().replace(/^#/, "");
  if (ROOM.test(room) && !conversations.has(`#${room}`)) {
    places.push({ kind: "room", name: room, text: `Enter the room ${room}` });
  }
  return places;
}

function partsOf({ kind, name }) {
  if (kind === "room") return ["# ", name];
  return [avatar(name), nameOf(name) ? `${nameOf(name)} (${name})` : name];
}

async function go({ kind, name }) {
  $("switcher").close();
  if (kind === "direct" || conversations.has(`#${name}`)) return show(openConversation(kind, name));
  try {
    await enterRoom(name);
  } catch (error) {
    notify(chat.shown, `The room ${name}: ${explain(error)}`);
  }
}

export function openSwitcher() {
  if (!chat.shown || $("switcher").open) return;
  $("switch-to").value = "";
  $("switcher").showModal();
  choices.show(placesFor(""));
}

export function installSwitcher() {
  choices = new Listbox($("places"), $("switch-to"), go);
  $("switch-to").addEventListener("input", () => choices.show(placesFor($("switch-to").value)));
  choices.listen();
  $("switcher").addEventListener("close", () => { if (chat.shown) $("text").focus(); });
  $("switch-open").addEventListener("click", openSwitcher);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    if (!chat.shown) return;
    event.preventDefault();
    openSwitcher();
  });
}
