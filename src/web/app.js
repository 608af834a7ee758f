/** The chat page: shows what the client says, and says what the person types. Texts become text nodes, never HTML. */
import { Client } from "./client.js";
import { avatar, make, render } from "./messages.js";
import {
  $, complain, explain, isFine, named, oncePerFrame, panels, plural, refused, renew, stateWords,
} from "./page.js";

const MAX_ITEMS = 500; // per conversation on the page; older ones come back from the history
const PAGE = 50; // messages or users asked for at once
const MAX_MEMBERS_SHOWN = 200;
const TYPING_MS = 4_000; // how long "is typing" stands
const TYPING_EVERY_MS = 2_000; // and how often we tell that we are

let client = null;
let me = "";
let limits = {};
let shown = null;
let lastTypedAt = -Infinity;
let countdown;
/** Of the conversation shown, so many lines are in the page: those behind them come with the next frame. */
let drawn = 0;
let isAtEnd = true; // the newest is seen, and is to stay in sight
let areListsStale = false;
/** Rooms and private conversations by their key: "#room" or "@user". */
const conversations = new Map();

const keyOf = (kind, name) => (kind === "room" ? "#" : "@") + name;
function conversation(kind, name) {
  const key = keyOf(kind, name);
  if (!conversations.has(key)) {
    conversations.set(key, {
      key, kind, name, items: [], unread: 0, notice: "", draft: "", error: "",
      members: new Set(), memberCount: 0, typing: new Map(), hasOlder: false, isLoading: false,
    });
  }
  return conversations.get(key);
}

// Entering

$("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (![$("first-room"), $("name")].map(isFine).every(Boolean)) return;
  complain($("token"), "");
  const [name, room, token] = ["name", "first-room", "token"].map((id) => $(id).value.trim());
  client?.close(); // asked twice: what counts is what was asked last
  me = name;
  const chat = client = new Client({ user: name, room, token: token || undefined });
  listen(chat);
  try {
    await chat.connect();
  } catch (error) {
    if (chat === client) refused(error);
    return;
  }
  $("entry").hidden = true;
  $("chat").hidden = false;
  show(conversation("room", chat.rooms[0]));
});

const wishes = new URLSearchParams(location.search);
if (wishes.has("name")) $("name").value = wishes.get("name");
if (wishes.has("room")) $("first-room").value = wishes.get("room");
$("name").focus();

// What the client tells

function listen(chat) {
  chat.on("state", showState);
  chat.on("joined", ({ room, recovered, members }) => {
    const place = conversation("room", room);
    if (members !== undefined) place.memberCount = members;
    if (!recovered) reload(place);
    loadMembers(place);
    renderLists();
  });
  chat.on("resumed", ({ room, recovered, missed }) => {
    const place = conversation("room", room);
    const count = missed === null ? "some messages" : plural(missed, "message");
    if (!recovered) add(place, { kind: "gap", text: `You missed ${count} here` });
    const gain = missed ? `recovered ${count}` : "nothing was missed";
    notify(place, `Connected again: ${recovered ? gain : `you missed ${count}`}`);
  });
  chat.on("gap", ({ room, from, to }) => {
    add(conversation("room", room), { kind: "gap", text: `${plural(to - from + 1, "message")} left out here` });
  });
  chat.on("message", (message) => {
    const place = conversation("room", message.room);
    stopTyping(place, message.user);
    add(place, { kind: "message", ...message });
  });
  chat.on("direct", (message) => add(conversation("direct", message.user), { kind: "message", ...message }));
  chat.on("presence_diff", ({ room, joined, left, members }) => {
    const place = conversation("room", room);
    place.memberCount = members;
    const isUntold = !joined && !left; // news were dropped, or there are too many people for names: then now and then
    const patience = members <= MAX_MEMBERS_SHOWN ? 0 : 5_000 + Math.random() * 10_000;
    if (isUntold) place.asking ??= setTimeout(() => { place.asking = null; loadMembers(place); }, patience);
    if (isUntold) return renderMembers();
    for (const user of left ?? []) {
      place.members.delete(user);
      stopTyping(place, user);
    }
    for (const user of joined ?? []) if (place.members.size < MAX_MEMBERS_SHOWN) place.members.add(user);
    const others = (joined ?? []).filter((user) => user !== me);
    if (others.length) add(place, { kind: "notice", text: `${others.join(", ")} joined` });
    if (left?.length) add(place, { kind: "notice", text: `${left.join(", ")} left` });
    renderMembers();
  });
  chat.on("typing", ({ room, user }) => {
    const place = conversation("room", room);
    if (!place.typing.has(user) && place.typing.size >= MAX_MEMBERS_SHOWN) return;
    clearTimeout(place.typing.get(user));
    place.typing.set(user, setTimeout(() => { stopTyping(place, user); renderTyping(); }, TYPING_MS));
    renderTyping();
  });
  chat.on("limited", ({ retryAfterMs }) => {
    sayError(`You write too fast. Sending goes on in ${Math.ceil(retryAfterMs / 1000)} s`);
  });
  chat.on("error", (error) => notify(shown, explain(error)));
}

function showState(state) {
  clearInterval(countdown);
  const { name, delayMs } = state;
  if (name === "online") limits = state.limits ?? {};
  else for (const place of conversations.values()) nobodyTypes(place);
  $("connection").className = name;
  $("connection-state").textContent = stateWords(state);
  $("countdown").textContent = $("entry-countdown").textContent = "";
  $("entry-state").textContent = name === "connecting" ? "Connecting…" : "";
  $("again").hidden = name !== "stopped";
  if (name !== "waiting") return;
  const endsAt = performance.now() + delayMs;
  const tick = () => {
    const words = `in ${Math.max(0, Math.ceil((endsAt - performance.now()) / 1000))} s`;
    $("countdown").textContent = words;
    $("entry-countdown").textContent = ` Next try ${words}`;
  };
  $("entry-state").textContent = "The server does not answer.";
  countdown = setInterval(tick, 1_000);
  tick();
}

$("again").addEventListener("click", () => client.connect().catch(() => {})); // the state says why not

function notify(place, text) {
  if (!place) return;
  place.notice = text;
  if (place === shown) $("notice").textContent = text;
}
$("notice-close").addEventListener("click", () => {
  notify(shown, "");
  $("text").focus();
});

// Older messages and members

/** The newest page of a room that was entered anew. What stands there stays, and has no place in the new count. */
async function reload(place) {
  for (const item of place.items) delete item.offset;
  place.hasOlder = false;
  await loadOlder(place);
}

async function loadOlder(place) {
  if (place.isLoading) return;
  place.isLoading = true;
  const before = place.items.find((item) => item.offset)?.offset;
  try {
    const page = await client.history(place.name, { before, limit: PAGE });
    const oldest = place.items.find((item) => item.offset)?.offset ?? Infinity;
    const known = new Set(place.items.map((item) => item.id));
    const older = page.messages.filter((message) => message.offset < oldest && !known.has(message.id));
    const first = place.items.findIndex((item) => item.offset || item.kind === "pending");
    const at = first < 0 ? place.items.length : first;
    place.items.splice(at, 0, ...older.map((message) => ({ kind: "message", ...message })));
    place.hasOlder = page.more;
    if (place === shown) renderMessages(older.length);
  } catch (error) {
    // With the connection gone, entering again asks again.
    if (error.code !== "connection_lost") notify(place, `Earlier messages: ${explain(error)}`);
  } finally {
    place.isLoading = false;
  }
}

async function loadMembers(place) {
  try {
    const { users, members } = await client.presence(place.name, { limit: PAGE });
    place.members = new Set(users);
    place.memberCount = members;
    renderMembers();
  } catch (error) {
    if (!["connection_lost", "offline"].includes(error.code)) notify(place, `Members: ${explain(error)}`);
  }
}

$("earlier").addEventListener("click", () => loadOlder(shown));
$("log").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = $("log");
  isAtEnd = scrollHeight - scrollTop - clientHeight < 60;
  if (scrollTop < 40 && shown?.hasOlder) loadOlder(shown);
});

// Messages

function add(place, item) {
  place.items.push(item);
  const isNews = item.kind === "message" && item.user !== me;
  if (place !== shown || document.hidden) place.unread += isNews ? 1 : 0;
  areListsStale ||= isNews || !place.isListed;
  if (place === shown && item.user === me) isAtEnd = true;
  if (place.items.length > MAX_ITEMS && place.items[0].kind !== "pending") {
    place.hasOlder ||= place.kind === "room";
    remove(place, place.items[0]);
  }
  drawSoon();
}

/** What came since the last frame, all at once: the page is laid out once for it, however much it is. */
const drawSoon = oncePerFrame(() => {
  if (areListsStale) renderLists();
  if (!shown) return;
  const isNew = drawn < shown.items.length;
  $("messages").append(...shown.items.slice(drawn).map((_, index) => entry(shown, drawn + index)));
  drawn = shown.items.length;
  $("earlier").hidden = !shown.hasOlder;
  if (isNew && isAtEnd) $("log").scrollTop = $("log").scrollHeight;
  renderTyping();
});

function remove(place, item) {
  const index = place.items.indexOf(item);
  if (index < 0) return;
  place.items.splice(index, 1);
  if (place !== shown || index >= drawn) return;
  const line = $("messages").children[index];
  drawn -= 1;
  // The next one may have stood under its name.
  if (index < drawn && line.nextSibling.matches(".follows")) line.nextSibling.replaceWith(entry(place, index));
  line.remove();
}

function entry(place, index) {
  const item = place.items[index];
  const retry = () => { remove(place, item); say(place, item.message); };
  return render(item, { previous: place.items[index - 1], isMine: item.user === me, retry });
}

/** All of a conversation; `added` at the front keep what is read in its place. */
function renderMessages(added = 0) {
  const log = $("log");
  const fromEnd = log.scrollHeight - log.scrollTop;
  log.setAttribute("aria-busy", "true"); // what is old is not read out
  $("messages").replaceChildren(...shown.items.map((_, index) => entry(shown, index)));
  drawn = shown.items.length;
  $("earlier").hidden = !shown.hasOlder;
  log.scrollTop = added && shown.items.length > added ? log.scrollHeight - fromEnd : log.scrollHeight;
  requestAnimationFrame(() => log.setAttribute("aria-busy", "false"));
}

// Saying

async function say(place, text) {
  const item = { kind: "pending", user: me, message: text, ts: Date.now() };
  add(place, item);
  const isRoom = place.kind === "room";
  try {
    await (isRoom ? client.send(place.name, text) : client.direct(place.name, text));
    remove(place, item);
    // A room brings it back, a private message has no echo.
    if (!isRoom) add(place, { ...item, kind: "message" });
  } catch (error) {
    remove(place, item);
    add(place, { ...item, kind: "failed", error: explain(error) });
  }
  if (client.queued === 0) sayError("");
}

function sayError(text) {
  $("say-error").textContent = text;
  $("text").setAttribute("aria-invalid", String(text !== ""));
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  const max = limits.max_message_chars ?? Infinity;
  const count = [...text].length; // as the server counts
  if (count > max) return sayError(`Too long: ${count} characters where ${max} are allowed. Nothing was sent`);
  if (!text) return;
  $("text").value = "";
  if (client.queued === 0) sayError("");
  countCharacters();
  lastTypedAt = -Infinity; // what is typed next is told at once
  say(shown, text);
});

/** Near the limit, how far it is. */
function countCharacters() {
  const count = [...$("text").value.trim()].length;
  const max = limits.max_message_chars ?? Infinity;
  $("say-count").textContent = count > 0.8 * max ? `${count} of ${max} characters` : "";
}

$("text").addEventListener("keydown", (event) => {
  // 229: in Safari, the Enter that ends a composition.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  $("say").requestSubmit();
});
$("text").addEventListener("input", () => {
  countCharacters();
  if (shown.kind !== "room" || performance.now() - lastTypedAt < TYPING_EVERY_MS) return;
  lastTypedAt = performance.now();
  client.typing(shown.name);
});

// Conversations

function show(place) {
  if (shown) shown.draft = $("text").value;
  shown = place;
  place.unread = 0;
  $("title").textContent = place.kind === "room" ? place.name : `Private: ${place.name}`;
  $("leave").hidden = place.kind !== "room";
  $("notice").textContent = place.notice;
  $("text").value = place.draft;
  sayError("");
  countCharacters();
  lastTypedAt = -Infinity;
  isAtEnd = true;
  renderMessages();
  renderLists();
  renderMembers();
  renderTyping();
  panels(false);
  $("text").focus();
}

const label = (text) => make("span", { className: "label" }, text);

function renderLists() {
  areListsStale = false;
  for (const [list, kind] of [["rooms", "room"], ["directs", "direct"]]) {
    const places = [...conversations.values()].filter((place) => place.kind === kind);
    renew($(list), places.map((place) => {
      place.isListed = true;
      const button = make("button", { type: "button" }, kind === "direct" ? avatar(place.name) : "", label(place.name));
      if (place === shown) button.setAttribute("aria-current", "true");
      const unread = make("span", { className: "unread" }, String(place.unread));
      unread.append(make("span", { className: "unseen" }, " unread"));
      if (place.unread) button.append(" ", unread);
      button.addEventListener("click", () => show(place));
      return named(place.name, make("li", {}, button));
    }));
  }
  const unread = [...conversations.values()].reduce((sum, place) => sum + place.unread, 0);
  $("unread-elsewhere").hidden = unread === 0;
  $("unread-elsewhere").replaceChildren(String(unread), make("span", { className: "unseen" }, " unread"));
  document.title = unread ? `(${unread}) throng` : "throng";
}

function renderMembers() {
  const isRoom = shown?.kind === "room";
  const users = isRoom ? [...shown.members].sort() : [];
  $("member-count").textContent = isRoom ? `(${shown.memberCount})` : "";
  renew($("members"), users.map((user) => {
    if (user === me) return make("li", { className: "me" }, avatar(user), label(`${user} (you)`));
    const button = make("button", { type: "button", title: `Write to ${user}` }, avatar(user), label(user));
    button.addEventListener("click", () => show(conversation("direct", user)));
    return named(user, make("li", {}, button));
  }));
  const more = isRoom ? shown.memberCount - users.length : 0;
  $("more-members").textContent = more > 0 ? `and ${more} more` : "";
}

function stopTyping(place, user) {
  clearTimeout(place.typing.get(user));
  place.typing.delete(user);
}

/** Without a connection nobody tells that they stopped. */
function nobodyTypes(place) {
  for (const user of [...place.typing.keys()]) stopTyping(place, user);
  if (place === shown) renderTyping();
}

function renderTyping() {
  const users = shown ? [...shown.typing.keys()] : [];
  const who = users.length > 3 ? "Several people are" : `${users.join(", ")} ${users.length > 1 ? "are" : "is"}`;
  $("typing").textContent = users.length ? `${who} typing…` : "";
}

$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!isFine($("join-room"))) return;
  const name = $("join-room").value;
  try {
    await client.join(name);
    $("join-room").value = "";
    show(conversation("room", name));
  } catch (error) {
    complain($("join-room"), explain(error));
  }
});
$("open-direct").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!isFine($("direct-user"))) return;
  show(conversation("direct", $("direct-user").value));
  $("direct-user").value = "";
});
$("leave").addEventListener("click", () => {
  client.leave(shown.name);
  conversations.delete(shown.key);
  shown.draft = $("text").value = "";
  const next = [...conversations.values()].find((place) => place.kind === "room");
  if (next) return show(next);
  client.close();
  $("chat").hidden = true;
  $("entry").hidden = false;
  conversations.clear();
  shown = null;
  $("name").focus();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !shown?.unread) return;
  shown.unread = 0;
  renderLists();
});
