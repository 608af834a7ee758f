/**
 * The chat page: shows the events of the client and sends what the user types. Texts become text nodes, never HTML.
 */
import { Client } from "./client.js";
import { Countdown } from "./countdown.js";
import { avatar, make, render } from "./messages.js";
import {
  $, complain, explain, isFine, named, oncePerFrame, panels, plural, refused, renew, stateWords,
} from "./page.js";

const MAX_ITEMS = 500; // lines kept per conversation; older messages can be loaded again from the history
const PAGE = 50; // messages or users per request
const MAX_MEMBERS_SHOWN = 200;
const TYPING_MS = 4_000; // how long "is typing" is shown after an event
const TYPING_EVERY_MS = 2_000; // shortest time between two typing events of this user

let client = null;
let me = "";
let limits = {};
let shown = null;
let lastTypedAt = -Infinity;
const countdown = new Countdown();
/** Number of lines of the shown conversation that are in the page; later lines are added with the next frame. */
let drawn = 0;
let isAtEnd = true; // the log is scrolled to its end, and stays there when lines are added
let areListsStale = false;
/** Rooms and private conversations by their key, "#room" or "@user". */
const conversations = new Map();

const keyOf = (kind, name) => (kind === "room" ? "#" : "@") + name;
function openConversation(kind, name) {
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
  client?.close(); // the form was submitted again: the last submission counts
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
  show(openConversation("room", chat.rooms[0]));
});

const parameters = new URLSearchParams(location.search);
if (parameters.has("name")) $("name").value = parameters.get("name");
if (parameters.has("room")) $("first-room").value = parameters.get("room");
$("name").focus();

// Events of the client

function listen(chat) {
  chat.on("state", showState);
  chat.on("joined", ({ room, recovered, members }) => {
    const conversation = openConversation("room", room);
    if (members !== undefined) conversation.memberCount = members;
    if (!recovered) reload(conversation);
    loadMembers(conversation);
    renderLists();
  });
  chat.on("resumed", ({ room, recovered, missed }) => {
    const conversation = openConversation("room", room);
    const count = missed === null ? "some messages" : plural(missed, "message");
    if (!recovered) add(conversation, { kind: "gap", text: `You missed ${count} here` });
    const gain = missed ? `recovered ${count}` : "nothing was missed";
    notify(conversation, `Connected again: ${recovered ? gain : `you missed ${count}`}`);
  });
  chat.on("gap", ({ room, from, to }) => {
    add(openConversation("room", room), { kind: "gap", text: `${plural(to - from + 1, "message")} left out here` });
  });
  chat.on("message", (message) => {
    const conversation = openConversation("room", message.room);
    stopTyping(conversation, message.user);
    add(conversation, { kind: "message", ...message });
  });
  chat.on("direct", (message) => add(openConversation("direct", message.user), { kind: "message", ...message }));
  chat.on("presence_diff", ({ room, joined, left, members }) => {
    const conversation = openConversation("room", room);
    conversation.memberCount = members;
    if (!joined && !left) {
      // The event has no names: some were dropped, or the room is too large. A large room is loaded only now and then.
      const delayMs = members <= MAX_MEMBERS_SHOWN ? 0 : 5_000 + Math.random() * 10_000;
      conversation.membersTimer ??= setTimeout(() => {
        conversation.membersTimer = null;
        loadMembers(conversation);
      }, delayMs);
      return renderMembers();
    }
    for (const user of left ?? []) {
      conversation.members.delete(user);
      stopTyping(conversation, user);
    }
    for (const user of joined ?? []) {
      if (conversation.members.size < MAX_MEMBERS_SHOWN) conversation.members.add(user);
    }
    const others = (joined ?? []).filter((user) => user !== me);
    if (others.length) add(conversation, { kind: "notice", text: `${others.join(", ")} joined` });
    if (left?.length) add(conversation, { kind: "notice", text: `${left.join(", ")} left` });
    renderMembers();
  });
  chat.on("typing", ({ room, user }) => {
    const conversation = openConversation("room", room);
    if (!conversation.typing.has(user) && conversation.typing.size >= MAX_MEMBERS_SHOWN) return;
    clearTimeout(conversation.typing.get(user));
    conversation.typing.set(user, setTimeout(() => { stopTyping(conversation, user); renderTyping(); }, TYPING_MS));
    renderTyping();
  });
  chat.on("limited", ({ retryAfterMs }) => {
    showSendError(`You write too fast. Sending goes on in ${Math.ceil(retryAfterMs / 1000)} s`);
  });
  chat.on("error", (error) => notify(shown, explain(error)));
}

function showState(state) {
  countdown.stop();
  const { name, delayMs } = state;
  if (name === "online") limits = state.limits ?? {};
  else for (const conversation of conversations.values()) stopAllTyping(conversation);
  $("connection").className = name;
  $("connection-state").textContent = stateWords(state);
  $("countdown").textContent = $("entry-countdown").textContent = "";
  $("entry-state").textContent = name === "connecting" ? "Connecting…" : "";
  $("again").hidden = name !== "stopped";
  if (name !== "waiting") return;
  $("entry-state").textContent = "The server does not answer.";
  countdown.start(delayMs, (words) => {
    $("countdown").textContent = words;
    $("entry-countdown").textContent = ` Next try ${words}`;
  });
}

$("again").addEventListener("click", () => client.connect().catch(() => {})); // the state shows the reason

function notify(conversation, text) {
  if (!conversation) return;
  conversation.notice = text;
  if (conversation === shown) $("notice").textContent = text;
}
$("notice-close").addEventListener("click", () => {
  notify(shown, "");
  $("text").focus();
});

// Older messages and members

/** Loads the newest page of a room that was not resumed. Its earlier lines stay, but have no offset any more. */
async function reload(conversation) {
  for (const item of conversation.items) delete item.offset;
  conversation.hasOlder = false;
  await loadOlder(conversation);
}

async function loadOlder(conversation) {
  if (conversation.isLoading) return;
  conversation.isLoading = true;
  const before = conversation.items.find((item) => item.offset)?.offset;
  try {
    const page = await client.history(conversation.name, { before, limit: PAGE });
    const oldest = conversation.items.find((item) => item.offset)?.offset ?? Infinity;
    const known = new Set(conversation.items.map((item) => item.id));
    const older = page.messages.filter((message) => message.offset < oldest && !known.has(message.id));
    const first = conversation.items.findIndex((item) => item.offset || item.kind === "pending");
    const at = first < 0 ? conversation.items.length : first;
    conversation.items.splice(at, 0, ...older.map((message) => ({ kind: "message", ...message })));
    conversation.hasOlder = page.more;
    if (conversation === shown) renderMessages(older.length);
  } catch (error) {
    // A lost connection is not shown here: entering the room again loads the page again.
    if (error.code !== "connection_lost") notify(conversation, `Earlier messages: ${explain(error)}`);
  } finally {
    conversation.isLoading = false;
  }
}

async function loadMembers(conversation) {
  try {
    const { users, members } = await client.presence(conversation.name, { limit: PAGE });
    conversation.members = new Set(users);
    conversation.memberCount = members;
    renderMembers();
  } catch (error) {
    if (!["connection_lost", "offline"].includes(error.code)) notify(conversation, `Members: ${explain(error)}`);
  }
}

$("earlier").addEventListener("click", () => loadOlder(shown));
$("log").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = $("log");
  isAtEnd = scrollHeight - scrollTop - clientHeight < 60;
  if (scrollTop < 40 && shown?.hasOlder) loadOlder(shown);
});

// Messages

function add(conversation, item) {
  conversation.items.push(item);
  const isNews = item.kind === "message" && item.user !== me;
  if (conversation !== shown || document.hidden) conversation.unread += isNews ? 1 : 0;
  areListsStale ||= isNews || !conversation.isListed;
  if (conversation === shown && item.user === me) isAtEnd = true;
  if (conversation.items.length > MAX_ITEMS && conversation.items[0].kind !== "pending") {
    conversation.hasOlder ||= conversation.kind === "room";
    remove(conversation, conversation.items[0]);
  }
  drawSoon();
}

/** Draws everything that has arrived since the last frame, so that the page is laid out once for it. */
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

function remove(conversation, item) {
  const index = conversation.items.indexOf(item);
  if (index < 0) return;
  conversation.items.splice(index, 1);
  if (conversation !== shown || index >= drawn) return;
  const line = $("messages").children[index];
  drawn -= 1;
  // The next line may have had no name of its own, because this one showed it.
  if (index < drawn && line.nextSibling.matches(".follows")) line.nextSibling.replaceWith(entry(conversation, index));
  line.remove();
}

function entry(conversation, index) {
  const item = conversation.items[index];
  const retry = () => { remove(conversation, item); send(conversation, item.message); };
  return render(item, { previous: conversation.items[index - 1], isMine: item.user === me, retry });
}

/** Draws the whole conversation. If `added` lines are new at its beginning, the scroll position is kept. */
function renderMessages(added = 0) {
  const log = $("log");
  const fromEnd = log.scrollHeight - log.scrollTop;
  log.setAttribute("aria-busy", "true"); // screen readers do not read old lines out
  $("messages").replaceChildren(...shown.items.map((_, index) => entry(shown, index)));
  drawn = shown.items.length;
  $("earlier").hidden = !shown.hasOlder;
  log.scrollTop = added && shown.items.length > added ? log.scrollHeight - fromEnd : log.scrollHeight;
  requestAnimationFrame(() => log.setAttribute("aria-busy", "false"));
}

// Sending

async function send(conversation, text) {
  const item = { kind: "pending", user: me, message: text, ts: Date.now() };
  add(conversation, item);
  const isRoom = conversation.kind === "room";
  try {
    await (isRoom ? client.send(conversation.name, text) : client.direct(conversation.name, text));
    remove(conversation, item);
    // A room sends the message back; a private message is not sent back.
    if (!isRoom) add(conversation, { ...item, kind: "message" });
  } catch (error) {
    remove(conversation, item);
    add(conversation, { ...item, kind: "failed", error: explain(error) });
  }
  if (client.queued === 0) showSendError("");
}

function showSendError(text) {
  $("say-error").textContent = text;
  $("text").setAttribute("aria-invalid", String(text !== ""));
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  const max = limits.max_message_chars ?? Infinity;
  const count = [...text].length; // code points, as the server counts
  if (count > max) return showSendError(`Too long: ${count} characters where ${max} are allowed. Nothing was sent`);
  if (!text) return;
  $("text").value = "";
  if (client.queued === 0) showSendError("");
  countCharacters();
  lastTypedAt = -Infinity; // typing is shown to the others at once when it goes on
  send(shown, text);
});

/** Shows the number of characters if it is near the limit. */
function countCharacters() {
  const count = [...$("text").value.trim()].length;
  const max = limits.max_message_chars ?? Infinity;
  $("say-count").textContent = count > 0.8 * max ? `${count} of ${max} characters` : "";
}

$("text").addEventListener("keydown", (event) => {
  // In Safari, the Enter that ends a composition has the key code 229.
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

function show(conversation) {
  if (shown) shown.draft = $("text").value;
  shown = conversation;
  conversation.unread = 0;
  $("title").textContent = conversation.kind === "room" ? conversation.name : `Private: ${conversation.name}`;
  $("leave").hidden = conversation.kind !== "room";
  $("notice").textContent = conversation.notice;
  $("text").value = conversation.draft;
  showSendError("");
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
    const listed = [...conversations.values()].filter((conversation) => conversation.kind === kind);
    renew($(list), listed.map((conversation) => {
      conversation.isListed = true;
      const { name } = conversation;
      const button = make("button", { type: "button" }, kind === "direct" ? avatar(name) : "", label(name));
      if (conversation === shown) button.setAttribute("aria-current", "true");
      const unread = make("span", { className: "unread" }, String(conversation.unread));
      unread.append(make("span", { className: "unseen" }, " unread"));
      if (conversation.unread) button.append(" ", unread);
      button.addEventListener("click", () => show(conversation));
      return named(name, make("li", {}, button));
    }));
  }
  const unread = [...conversations.values()].reduce((sum, conversation) => sum + conversation.unread, 0);
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
    button.addEventListener("click", () => show(openConversation("direct", user)));
    return named(user, make("li", {}, button));
  }));
  const more = isRoom ? shown.memberCount - users.length : 0;
  $("more-members").textContent = more > 0 ? `and ${more} more` : "";
}

function stopTyping(conversation, user) {
  clearTimeout(conversation.typing.get(user));
  conversation.typing.delete(user);
}

/** Without a connection no event says that a user has stopped typing. */
function stopAllTyping(conversation) {
  for (const user of [...conversation.typing.keys()]) stopTyping(conversation, user);
  if (conversation === shown) renderTyping();
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
    show(openConversation("room", name));
  } catch (error) {
    complain($("join-room"), explain(error));
  }
});
$("open-direct").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!isFine($("direct-user"))) return;
  show(openConversation("direct", $("direct-user").value));
  $("direct-user").value = "";
});
$("leave").addEventListener("click", () => {
  client.leave(shown.name);
  conversations.delete(shown.key);
  shown.draft = $("text").value = "";
  const next = [...conversations.values()].find((conversation) => conversation.kind === "room");
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
