/** Events of the connection: puts messages into their conversations, and shows the state of the connection. */
import { alertUser } from "./alerts.js";
import { Countdown } from "./countdown.js";
import { $, plural } from "./dom.js";
import { showSendError } from "./field.js";
import { loadMembers, reload } from "./history.js";
import {
  listsSoon, renderLists, renderMembers, renderTyping, stopAllTyping, stopTyping, typingSoon,
} from "./lists.js";
import { drawSoon, followEnd, seesEnd } from "./log.js";
import { explain, stateWords } from "./page.js";
import { notify } from "./rooms.js";
import {
  append, called, chat, conversations, countUnread, mentionsMe, openConversation, rememberNames,
} from "./state.js";

const MAX_MEMBERS_SHOWN = 200;
const TYPING_MS = 4_000; // how long "is typing" is shown after an event

const countdown = new Countdown();

/** Adds a message of somebody, and counts it where the user does not see it. */
function arrived(conversation, message) {
  const item = { kind: "message", ...message };
  append(conversation, item);
  listsSoon();
  if (message.user === chat.me) {
    if (conversation === chat.shown) followEnd();
    return;
  }
  const isCall = mentionsMe(message.message);
  if (conversation !== chat.shown || document.hidden) {
    countUnread(conversation, item, isCall);
    if (isCall || conversation.kind === "direct") alertUser(conversation, item);
  } else if (!seesEnd()) {
    conversation.below += 1;
    drawSoon();
  }
}

function showState(state) {
  countdown.stop();
  const { name, delayMs } = state;
  if (name === "online") chat.limits = state.limits ?? {};
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

function resumed({ room, recovered, missed }) {
  const conversation = openConversation("room", room);
  const count = missed === null ? "some messages" : plural(missed, "message");
  if (!recovered) append(conversation, { kind: "gap", text: `You missed ${count} here` });
  // After a reload of the page, only what is lost is worth a line.
  const isReload = conversation.isRestored;
  conversation.isRestored = false;
  if (isReload && recovered) return;
  const gain = missed ? `recovered ${count}` : "nothing was missed";
  notify(conversation, `Connected again: ${recovered ? gain : `you missed ${count}`}`);
}

function presenceChanged({ room, joined, left, members, names }) {
  const conversation = openConversation("room", room);
  conversation.memberCount = members;
  rememberNames(names);
  listsSoon();
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
  const say = (users, what) => {
    const others = (users ?? []).filter((user) => user !== chat.me).map(called);
    if (others.length) append(conversation, { kind: "notice", text: `${others.join(", ")} ${what}` });
  };
  say(joined, "joined");
  say(left, "left");
  renderMembers();
  renderTyping();
}

function typed({ room, user }) {
  const conversation = openConversation("room", room);
  if (!conversation.typing.has(user) && conversation.typing.size >= MAX_MEMBERS_SHOWN) return;
  clearTimeout(conversation.typing.get(user));
  conversation.typing.set(user, setTimeout(() => { stopTyping(conversation, user); renderTyping(); }, TYPING_MS));
  renderTyping();
}

/** Listens to a client until it is replaced. */
export function listen(client) {
  const on = (type, run) => client.on(type, (event) => { if (client === chat.client) run(event); });
  on("state", showState);
  on("joined", ({ room, recovered, members }) => {
    const conversation = openConversation("room", room);
    if (members !== undefined) conversation.memberCount = members;
    if (!recovered || !conversation.items.some((item) => item.offset)) reload(conversation);
    loadMembers(conversation);
    renderLists();
  });
  on("resumed", resumed);
  on("gap", ({ room, from, to }) => {
    append(openConversation("room", room), { kind: "gap", text: `${plural(to - from + 1, "message")} left out here` });
  });
  on("message", (message) => {
    const conversation = openConversation("room", message.room);
    stopTyping(conversation, message.user);
    if (conversation === chat.shown) typingSoon();
    arrived(conversation, message);
  });
  on("direct", (message) => arrived(openConversation("direct", message.user), message));
  on("presence_diff", presenceChanged);
  on("typing", typed);
  on("limited", ({ retryAfterMs }) => {
    showSendError(`You write too fast. Sending goes on in ${Math.ceil(retryAfterMs / 1000)} s`);
  });
  on("error", (error) => notify(chat.shown, explain(error)));
}
