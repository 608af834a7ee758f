/**
 * The list of messages. Only the lines around the view are in the page, so that very many stay smooth; empty space
 * stands for the others. All changes of one frame are drawn together, and the page is laid out once for them.
 */
import { $, oncePerFrame, plural } from "./dom.js";
import { render } from "./messages.js";
import { chat, isSaid, watchLines } from "./state.js";

const DRAWN = 150; // most lines in the page: more than fit on a tall screen
const BATCH = 60; // most lines of a burst that are drawn in one frame
const STEP = 15; // lines by which the drawn part grows or moves in one frame
const EDGE = 600; // pixels between the view and the end of the drawn part, below which it moves
const LINE = 44; // height that is assumed for a line that is not drawn
const LEAST_LINE = 24; // height of the lowest line
const TOP = 200; // pixels from the top of the list, below which older messages are loaded
const LOOK_BACK = 500; // lines before the drawn part among which the last message is looked for
const NEAR = 60; // pixels from the end of the list that count as the end

/** The drawn part: lines from `from` to before `to`. */
let from = 0, to = 0;
/** Height of the space that stands for the lines before the drawn part. */
let above = 0;
/** The list is scrolled to its end, and stays there when lines are added. */
let isAtEnd = true;
let isStale = false;
/** The elements of the drawn part, by item, with what they were drawn from. */
let drawn = new Map();
let retry = () => {};
let older = () => {};

/** Installs the list. `sendAgain(item)` is called for a failed message, `loadOlder()` when the reader is at its top. */
export function installLog({ sendAgain, loadOlder }) {
  [retry, older] = [sendAgain, loadOlder];
  watchLines(changed);
  $("log").addEventListener("scroll", scrolled);
  $("earlier").addEventListener("click", older);
  $("newest").addEventListener("click", () => { toEnd(); $("text").focus(); });
  new ResizeObserver(() => { if (isAtEnd) drawSoon(); }).observe($("log"));
}

/** Moves the bounds of the drawn part along with the lines in it. */
function changed(index, removed, added) {
  isStale = true;
  if (index + removed <= from && to > from) {
    from += added - removed;
    to += added - removed;
  } else if (index < to) {
    const inside = Math.max(0, Math.min(index + removed, to) - Math.max(index, from));
    const size = to - from - inside + added;
    from = Math.min(from, index);
    to = from + size;
  } else if (index === to && to - from < DRAWN) {
    to = Math.min(to + added, from + DRAWN);
  }
  drawSoon();
}

/** Whether the newest message can be seen. */
export const seesEnd = () => isAtEnd;

/** Goes to the end with the next frame. */
export function followEnd() {
  isAtEnd = true;
  drawSoon();
}

export function toEnd() {
  isAtEnd = isStale = true;
  draw();
}

/** Draws the shown conversation anew, at its end. */
export function redraw() {
  drawn.clear();
  $("messages").replaceChildren();
  [from, to] = [0, 0];
  if (!chat.shown) return;
  quietly();
  toEnd();
}

/** Keeps screen readers from reading old lines out. */
function quietly() {
  $("log").setAttribute("aria-busy", "true");
  requestAnimationFrame(() => $("log").setAttribute("aria-busy", "false"));
}

export const drawSoon = oncePerFrame(draw);

function draw() {
  if (!chat.shown) return;
  $("earlier").hidden = !chat.shown.hasOlder;
  if (isAtEnd) followLines();
  if (isStale) {
    isStale = false;
    place();
    pad();
  }
  const log = $("log");
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  else slide();
  drawButton();
}

/** Moves the drawn part to the end. A burst is drawn from its end; the lines before it follow in the next frames. */
function followLines() {
  const { length } = chat.shown.items;
  const first = Math.max(0, length - DRAWN);
  const next = Math.max(first, length - to > BATCH ? length - BATCH : from - STEP);
  isStale ||= from !== next || to !== length;
  [from, to] = [next, length];
  if (isStale) above = from * LINE;
  if (next > first) drawSoon();
  chat.shown.below = 0;
}

function drawButton() {
  const { below } = chat.shown;
  $("newest").hidden = isAtEnd;
  const text = below ? `↓ ${plural(below, "new message")}` : "↓ Newest";
  if ($("newest").textContent !== text) $("newest").textContent = text;
}

/** Puts the elements of the drawn part into the page, and takes all others out. */
function place() {
  const { items, newId } = chat.shown;
  const list = $("messages");
  const fresh = new Map();
  let lastTs = items.slice(Math.max(0, from - LOOK_BACK), from).findLast(isSaid)?.ts;
  for (let index = from; index < to; index += 1) {
    const item = items[index];
    const previous = items[index - 1];
    const isNew = newId !== "" && item.id === newId;
    const known = drawn.get(item);
    const isSame = known && known.previous === previous && known.isNew === isNew && known.lastTs === lastTs;
    const element = isSame ? known.element : render(item, { previous, isNew, retry, lastTs });
    fresh.set(item, { element, previous, isNew, lastTs });
    if (isSaid(item)) lastTs = item.ts;
  }
  for (const [item, { element }] of drawn) {
    if (fresh.get(item)?.element !== element) element.remove();
  }
  let at = list.firstElementChild;
  for (const { element } of fresh.values()) {
    if (element === at) at = at.nextElementSibling;
    else list.insertBefore(element, at);
  }
  drawn = fresh;
}

function pad() {
  const { style } = $("messages");
  style.paddingTop = `${above}px`;
  style.paddingBottom = `${(chat.shown.items.length - to) * LINE}px`;
}

function scrolled() {
  if (!chat.shown) return;
  const { scrollHeight, scrollTop, clientHeight } = $("log");
  const wasAtEnd = isAtEnd;
  isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
  if (isAtEnd !== wasAtEnd) drawSoon();
  if (!isAtEnd) slide();
  if (from === 0 && scrollTop < TOP && chat.shown.hasOlder) older();
}

/** Moves the drawn part if the view comes near its end or has left it, and lets it grow to its full size. */
function slide() {
  const { length } = chat.shown.items;
  if (to === from) return;
  const { scrollTop, clientHeight } = $("log");
  const first = elementAt(from), last = elementAt(to - 1);
  if (!first || !last) return; // lines have changed: the next frame draws them
  const start = first.offsetTop, end = last.offsetTop + last.offsetHeight;
  if (scrollTop + clientHeight < start || scrollTop > end) return jump(start, end);
  const before = from > 0 ? scrollTop - start : Infinity;
  const behind = to < length ? end - scrollTop - clientHeight : Infinity;
  const isWhole = to - from >= DRAWN;
  if (Math.min(before, behind) === Infinity || isWhole && before >= EDGE && behind >= EDGE) return;
  if (before <= behind) {
    const next = Math.max(0, from - STEP);
    move(next, Math.min(to, next + DRAWN));
  } else {
    const next = Math.min(length, to + STEP);
    move(Math.max(from, next - DRAWN), next);
  }
  drawSoon(); // there may be more to move
}

const elementAt = (index) => drawn.get(chat.shown.items[index])?.element;

/** Draws the lines that belong to a place in one of the empty spaces. */
function jump(start, end) {
  const { items } = chat.shown;
  const { scrollTop, scrollHeight, clientHeight } = $("log");
  const isAbove = scrollTop < start;
  const share = isAbove ? scrollTop / start : (scrollTop - end) / Math.max(1, scrollHeight - end);
  const target = Math.floor(isAbove ? share * from : to + share * (items.length - to));
  const index = Math.min(Math.max(target, 0), items.length - 1);
  const next = Math.max(0, index - 1);
  above = next * LINE;
  move(next, Math.min(items.length, index + Math.ceil(clientHeight / LEAST_LINE)), items[index], scrollTop);
  drawSoon(); // the rest of the drawn part follows
}

/** Draws another part. The line `anchor`, by default the topmost in view, stays at its place on the screen. */
function move(nextFrom, nextTo, anchor = topmost(), wanted = drawn.get(anchor)?.element.offsetTop) {
  const log = $("log");
  [from, to] = [nextFrom, nextTo];
  quietly();
  place();
  pad();
  const line = drawn.get(anchor)?.element;
  if (!line) return;
  const shift = line.offsetTop - wanted;
  if (shift === 0 && (from > 0 || above === 0)) return;
  if (from > 0 && above - shift > 0) {
    above -= shift;
    return pad();
  }
  above = from * LINE;
  pad();
  log.scrollTop += line.offsetTop - wanted;
}

function topmost() {
  const { scrollTop } = $("log");
  const { items } = chat.shown;
  let low = from, high = to - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const { offsetTop, offsetHeight } = elementAt(middle);
    if (offsetTop + offsetHeight > scrollTop) high = middle;
    else low = middle + 1;
  }
  return items[low];
}
