/** The rooms that the server lists for everybody: finds one by its name, and enters it. */
import { $, make, plural } from "./dom.js";
import { Listbox } from "./listbox.js";
import { previewOf } from "./lists.js";
import { visit } from "./rooms.js";
import { writeAddress } from "./route.js";
import { clock, dayOf } from "./settings.js";
import { chat, conversations, keyOf } from "./state.js";

const NONE = "No room is listed. Somebody who is in a room can tell you its name";
const FAILED = "The list of rooms cannot be read now: try again in a moment";

let choices;
let rooms = [];
let isLoaded = false;

/** Reads the list. Rejects if it cannot be read. */
async function load() {
  const response = await fetch("rooms");
  if (!response.ok) throw new Error(FAILED);
  ({ rooms } = await response.json());
  isLoaded = true;
}

/** Shows the way to the list if there is something in it. */
export async function offerRooms() {
  await load().catch(() => { rooms = []; });
  $("browse-open").hidden = rooms.length === 0;
}

const when = (ts) => [dayOf(ts), clock(ts)].filter((word) => word !== "Today").join(" ");

function partsOf({ room, members, last }) {
  const isIn = conversations.has(keyOf("room", room));
  const head = `${plural(members, "member")}${last ? ` · ${when(last.ts)}` : ""}${isIn ? " · you are in it" : ""}`;
  const parts = [make("span", { className: "label" }, "# ", room), " ", make("span", { className: "hint" }, head)];
  if (last) parts.push(" ", make("span", { className: "last" }, previewOf({ last })));
  return parts;
}

function draw() {
  if (!isLoaded) return;
  const wanted = $("browse-for").value.trim().replace(/^#/, "").toLowerCase();
  const found = rooms.filter(({ room }) => room.toLowerCase().includes(wanted));
  choices.show(found.map((each) => ({ kind: "room", name: each.room, parts: partsOf(each) })));
  const of = rooms.length === 0 ? NONE : `${found.length} of ${plural(rooms.length, "room")}`;
  $("browse-state").textContent = of;
}

/** Shows the list once it is there: rooms must not move under the pointer. */
async function open() {
  isLoaded = false;
  $("browse-for").value = "";
  choices.close();
  $("browse-state").textContent = "Loading…";
  $("browse").showModal();
  try {
    await load();
    draw();
  } catch {
    $("browse-state").textContent = FAILED;
  }
}

function go(place) {
  $("browse").close();
  visit(place, writeAddress);
}

export function installBrowse() {
  choices = new Listbox($("listed"), $("browse-for"), go);
  $("browse-for").addEventListener("input", draw);
  choices.listen();
  $("browse").addEventListener("close", () => { if (chat.shown) $("text").focus(); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && chat.shown && $("browse-open").hidden) offerRooms();
  });
  $("browse-open").addEventListener("click", open);
  $("browse-close").addEventListener("click", () => $("browse").close());
}
