/** The chat page: shows what the client says, and says what the person types. Texts become text nodes, never HTML. */
import { Client } from "./client.js";

const MAX_ITEMS = 500; // per conversation on the page; older ones come back from the history
const PAGE = 50; // messages or users asked for at once
const MAX_MEMBERS_SHOWN = 200;
const TYPING_MS = 4_000; // how long "is typing" stands
const TYPING_EVERY_MS = 2_000; // and how often we tell that we are

const $ = (id) => document.getElementById(id);
/** An element with properties; children are elements, or texts that stay texts. */
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

let client = null;
let me = "";
let shown = null;
let lastTypedAt = 0;
let countdown;
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
  $("entry-error").textContent = "";
  const [name, room, token] = ["name", "first-room", "token"].map((id) => $(id).value.trim());
  me = name;
  client = new Client({ user: name, room, token: token || undefined });
  listen(client);
  try {
    await client.connect();
  } catch (error) {
    $("entry-error").textContent = explain(error);
    $("name").focus();
    return;
  }
  $("entry").hidden = true;
  $("chat").hidden = false;
  show(conversation("room", client.rooms[0]));
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
    const count = missed === 1 ? "1 message" : `${missed} messages`;
    const loss = missed === null ? "you missed some messages" : `you missed ${count}`;
    const gain = missed ? `recovered ${count}` : "nothing was missed";
    notify(place, `Connected again: ${recovered ? gain : loss}`);
  });
  chat.on("gap", ({ room, from, to }) => {
    add(conversation("room", room), { kind: "notice", text: `${to - from + 1} messages were left out here` });
  });
  chat.on("message", (message) => {
    const place = conversation("room", message.room);
    place.typing.delete(message.user);
    add(place, { kind: "message", ...message });
  });
  chat.on("direct", (message) => add(conversation("direct", message.user), { kind: "message", ...message }));
  chat.on("presence_diff", ({ room, joined = [], left = [], members }) => {
    const place = conversation("room", room);
    place.memberCount = members;
    for (const user of left) place.members.delete(user);
    for (const user of joined) if (place.members.size < MAX_MEMBERS_SHOWN) place.members.add(user);
    const others = joined.filter((user) => user !== me);
    if (others.length) add(place, { kind: "notice", text: `${others.join(", ")} joined` });
    if (left.length) add(place, { kind: "notice", text: `${left.join(", ")} left` });
    renderMembers();
  });
  chat.on("typing", ({ room, user }) => {
    const place = conversation("room", room);
    clearTimeout(place.typing.get(user));
    if (place.typing.size >= MAX_MEMBERS_SHOWN) return;
    place.typing.set(user, setTimeout(() => { place.typing.delete(user); renderTyping(); }, TYPING_MS));
    renderTyping();
  });
  chat.on("limited", ({ retryAfterMs }) => {
    sayError(`You are too fast. Sending goes on in ${Math.ceil(retryAfterMs / 1000)} s`);
  });
  chat.on("error", (error) => notify(shown, explain(error)));
}

function showState({ name, delayMs, reason, code }) {
  clearInterval(countdown);
  const words = {
    connecting: "Connecting…", online: "Connected", waiting: "Connection lost, reconnecting",
    stopped: `Disconnected: ${reason || `code ${code}`}`,
  };
  $("connection").className = name;
  $("connection-state").textContent = words[name] ?? "";
  $("countdown").textContent = "";
  $("again").hidden = name !== "stopped";
  if (name !== "waiting") return;
  const endsAt = Date.now() + delayMs;
  const tick = () => {
    $("countdown").textContent = `in ${Math.max(0, Math.ceil((endsAt - Date.now()) / 1000))} s`;
  };
  countdown = setInterval(tick, 1_000);
  tick();
}

$("again").addEventListener("click", () => client.connect().catch(() => {})); // the state says why not

/** An error in a person's words. */
function explain(error) {
  const words = {
    user_not_found: "Not delivered: nobody of this name is connected",
    unknown_outcome: "The connection was lost: this was sent, or not",
    offline: "Not connected",
  };
  return words[error.code] ?? error.message;
}

function notify(place, text) {
  if (!place) return;
  place.notice = text;
  if (place === shown) $("notice").textContent = text;
}

// Older messages and members

/** The newest page of a room that was entered anew. */
async function reload(place) {
  place.items = place.items.filter((item) => item.kind === "pending" || item.kind === "failed");
  place.hasOlder = false;
  if (place === shown) renderMessages();
  await loadOlder(place);
}

async function loadOlder(place) {
  if (place.isLoading) return;
  place.isLoading = true;
  const before = place.items.find((item) => item.offset)?.offset;
  try {
    const page = await client.history(place.name, { before, limit: PAGE });
    const oldest = place.items.find((item) => item.offset)?.offset ?? Infinity;
    const older = page.messages.filter((message) => message.offset < oldest);
    place.items.unshift(...older.map((message) => ({ kind: "message", ...message })));
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
    if (error.code !== "connection_lost") notify(place, `Members: ${explain(error)}`);
  }
}

$("earlier").addEventListener("click", () => loadOlder(shown));
$("log").addEventListener("scroll", () => {
  if ($("log").scrollTop < 40 && shown?.hasOlder) loadOlder(shown);
});

// Messages

function add(place, item) {
  place.items.push(item);
  const isNews = item.kind === "message" && item.user !== me;
  if (place !== shown || document.hidden) place.unread += isNews ? 1 : 0;
  if (isNews || !place.isListed) renderLists();
  if (place.items.length > MAX_ITEMS && place.items[0].kind !== "pending") {
    place.items.shift();
    place.hasOlder ||= place.kind === "room";
    if (place === shown) $("messages").firstChild?.remove();
  }
  if (place !== shown) return;
  const log = $("log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  $("messages").append(render(place, item));
  if (isAtEnd || item.user === me) log.scrollTop = log.scrollHeight;
  renderTyping();
}

function remove(place, item) {
  const index = place.items.indexOf(item);
  if (index < 0) return;
  place.items.splice(index, 1);
  if (place === shown) $("messages").children[index]?.remove();
}

function render(place, item) {
  const entry = make("li", { className: item.kind });
  if (item.kind === "notice") return entry.append(item.text), entry;
  const at = new Date(item.ts);
  const time = make("time", { dateTime: at.toISOString() }, at.toLocaleTimeString([], { timeStyle: "short" }));
  entry.append(make("span", { className: "who" }, item.user), " ", time, " ", item.message);
  if (item.kind === "pending") entry.append(" – sending…");
  if (item.kind === "failed") {
    const again = make("button", { className: "quiet", type: "button" }, "Try again");
    again.addEventListener("click", () => { remove(place, item); say(place, item.message); });
    entry.append(` – ${item.error}`, again);
  }
  return entry;
}

/** All of a conversation; `added` at the front keep what is read in its place. */
function renderMessages(added = 0) {
  const log = $("log");
  const fromEnd = log.scrollHeight - log.scrollTop;
  log.setAttribute("aria-busy", "true"); // what is old is not read out
  $("messages").replaceChildren(...shown.items.map((item) => render(shown, item)));
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

function sayError(text) { $("say-error").textContent = text; }

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  sayError("");
  say(shown, text);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("say").requestSubmit();
});
$("text").addEventListener("input", () => {
  if (shown.kind !== "room" || Date.now() - lastTypedAt < TYPING_EVERY_MS) return;
  lastTypedAt = Date.now();
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
  renderMessages();
  renderLists();
  renderMembers();
  renderTyping();
  panels(false);
  $("text").focus();
}

function renderLists() {
  for (const [list, kind] of [["rooms", "room"], ["directs", "direct"]]) {
    const places = [...conversations.values()].filter((place) => place.kind === kind);
    $(list).replaceChildren(...places.map((place) => {
      place.isListed = true;
      const button = make("button", { type: "button" }, place.name);
      if (place === shown) button.setAttribute("aria-current", "true");
      const unread = make("span", { className: "unread" }, String(place.unread));
      unread.append(make("span", { className: "unseen" }, " unread"));
      if (place.unread) button.append(" ", unread);
      button.addEventListener("click", () => show(place));
      return make("li", {}, button);
    }));
  }
  const unread = [...conversations.values()].reduce((sum, place) => sum + place.unread, 0);
  document.title = unread ? `(${unread}) throng` : "throng";
}

function renderMembers() {
  const isRoom = shown?.kind === "room";
  const users = isRoom ? [...shown.members].sort() : [];
  $("member-count").textContent = isRoom ? `(${shown.memberCount})` : "";
  $("members").replaceChildren(...users.map((user) => {
    if (user === me) return make("li", {}, `${user} (you)`);
    const button = make("button", { type: "button", title: `Write to ${user}` }, user);
    button.addEventListener("click", () => show(conversation("direct", user)));
    return make("li", {}, button);
  }));
  const more = isRoom ? shown.memberCount - users.length : 0;
  $("more-members").textContent = more > 0 ? `and ${more} more` : "";
}

function renderTyping() {
  const users = shown ? [...shown.typing.keys()] : [];
  const who = users.length > 3 ? "Several people are" : `${users.join(", ")} ${users.length > 1 ? "are" : "is"}`;
  $("typing").textContent = users.length ? `${who} typing…` : "";
}

$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("join-error").textContent = "";
  const name = $("join-room").value.trim();
  try {
    await client.join(name);
    $("join-room").value = "";
    show(conversation("room", name));
  } catch (error) {
    $("join-error").textContent = explain(error);
  }
});
$("open-direct").addEventListener("submit", (event) => {
  event.preventDefault();
  show(conversation("direct", $("direct-user").value.trim()));
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

function panels(isOpen) {
  $("panels").classList.toggle("open", isOpen);
  $("panels-toggle").setAttribute("aria-expanded", String(isOpen));
}
$("panels-toggle").addEventListener("click", () => panels(!$("panels").classList.contains("open")));
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !shown?.unread) return;
  shown.unread = 0;
  renderLists();
});
