/** Renders messages. Texts become text nodes, never HTML. */

const HUES = 8; // number of avatar colours: one class .hue-N each in style.css
const TOGETHER_MS = 5 * 60_000; // messages of one user within this time are shown under one name

/** Creates an element with properties; children are elements, or strings that become text nodes. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Creates a circle with a user's initials, in a colour derived from the name. */
export function avatar(user) {
  let hash = 0;
  for (const letter of user) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  const circle = make("span", { className: `avatar hue-${hash % HUES}` }, user.slice(0, 2).toUpperCase());
  circle.setAttribute("aria-hidden", "true");
  return circle;
}

function timeOf(ts) {
  const at = new Date(ts);
  const isToday = at.toDateString() === new Date().toDateString();
  const style = isToday ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return make("time", { dateTime: at.toISOString() }, at.toLocaleString([], style));
}

const isSaid = (item) => ["message", "pending", "failed"].includes(item?.kind);

/**
 * Creates a line of a conversation. An item of kind "message", "pending" or "failed" has user, message and ts, and may
 * have a name ("failed" also has error); one of kind "notice" or "gap" has a text.
 */
export function render(item, { previous, isMine, retry }) {
  if (!isSaid(item)) return make("li", { className: item.kind }, make("span", {}, item.text));
  const follows = isSaid(previous) && previous.user === item.user && item.ts - previous.ts < TOGETHER_MS;
  const classes = ["said", item.kind, isMine && "mine", follows && "follows"].filter(Boolean).join(" ");
  // The name is the user's own choice, so the id stands beside it.
  const who = item.name ? `${item.name} (${item.user})` : item.user;
  const meta = make("p", { className: "meta" }, make("span", { className: "who" }, who), " ", timeOf(item.ts));
  const text = make("p", { className: "text" }, item.message);
  const entry = make("li", { className: classes }, avatar(item.user), meta, text);
  if (item.kind === "pending") entry.append(make("p", { className: "state" }, "sending…"));
  if (item.kind === "failed") {
    const again = make("button", { className: "quiet", type: "button" }, "Try again");
    again.addEventListener("click", retry);
    entry.append(make("p", { className: "state error" }, item.error, " ", again));
  }
  return entry;
}
