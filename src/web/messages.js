/** Renders the lines of a conversation: messages, notices, gaps, days, and where the new ones begin. */
import { make } from "./dom.js";
import { clock, dayOf, fullTime } from "./settings.js";
import { chat, isSaid, mentionsMe, nameOf } from "./state.js";
import { nodesOf } from "./text.js";

const HUES = 8; // number of avatar colours: one class .hue-N each in style.css
const TOGETHER_MS = 5 * 60_000; // messages of one user within this time are shown under one name

/** Creates a circle with a user's initials, in a colour derived from the id, so that it stays the same. */
export function avatar(user) {
  let hash = 0;
  for (const letter of user) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  const initials = [...(nameOf(user) || user)].slice(0, 2).join("").toUpperCase();
  const circle = make("span", { className: `avatar hue-${hash % HUES}` }, initials);
  circle.setAttribute("aria-hidden", "true");
  return circle;
}

/** Creates the name of a user, with the id beside it if that is another. */
export function nameTag(user, name = nameOf(user)) {
  const parts = name && name !== user ? [make("bdi", {}, name), ` (${user})`] : [user];
  return make("span", { className: "who" }, ...parts);
}

function timeOf(ts) {
  const at = new Date(ts);
  return make("time", { dateTime: at.toISOString(), title: fullTime(at) }, clock(at));
}

const isOtherDay = (a, b) => new Date(a).toDateString() !== new Date(b).toDateString();

/** Returns the line above a message that says on which day it was said; nothing if that is clear. */
function dayLine(item, lastTs) {
  if (!isOtherDay(item.ts, lastTs)) return [];
  return [make("p", { className: "day" }, make("span", {}, dayOf(item.ts)))];
}

/**
 * Creates a line of a conversation. An item of kind "message", "pending" or "failed" has user, message and ts, and may
 * have a name ("failed" also has error); one of kind "notice" or "gap" has a text. `lastTs` is the time of the last
 * message before it, by default now.
 */
export function render(item, { previous, isNew, retry, lastTs = Date.now() }) {
  if (!isSaid(item)) {
    return make("li", { className: item.kind }, make("span", {}, item.text));
  }
  const marks = dayLine(item, lastTs);
  if (isNew) marks.push(make("p", { className: "new" }, make("span", {}, "New")));
  const follows = marks.length === 0 && isSaid(previous) && previous.user === item.user
    && previous.name === item.name && item.ts - previous.ts < TOGETHER_MS;
  const isMine = item.user === chat.me;
  const isCall = !isMine && mentionsMe(item.message);
  const classes = ["said", item.kind, isMine && "mine", follows && "follows", isCall && "call"];
  const meta = make("p", { className: "meta" }, nameTag(item.user, item.name), " ", timeOf(item.ts));
  const isMe = (user) => user.toLowerCase() === chat.me.toLowerCase();
  const text = make("div", { className: "text", dir: "auto" }, ...nodesOf(item.message, isMe));
  const entry = make("li", { className: classes.filter(Boolean).join(" ") }, ...marks, avatar(item.user), meta, text);
  if (item.kind === "pending") entry.append(make("p", { className: "state" }, "sending…"));
  if (item.kind === "failed") {
    const again = make("button", { className: "quiet", type: "button" }, "Try again");
    again.addEventListener("click", () => retry(item));
    entry.append(make("p", { className: "state error" }, item.error, " ", again));
  }
  return entry;
}
