/** The panels beside the conversation: rooms, private conversations, members; and the line that says who is typing. */
import { $, after, fill, make, oncePerFrame, plural } from "./dom.js";
import { avatar } from "./messages.js";
import { panels } from "./page.js";
import { called, chat, conversations, listed, nameOf, openConversation } from "./state.js";

const PAUSE_MS = 150; // between two updates of the lists for new messages
const PREVIEW_CHARS = 80; // of the last message of a conversation

let show = () => {};
let drawTitle = () => {};

/** Installs the lists. `onChoice(conversation)` is called for a choice, `onUnread()` when the counts have changed. */
export function installLists({ onChoice, onUnread }) {
  [show, drawTitle] = [(conversation) => onChoice(conversation), onUnread];
}

export const label = (text) => make("span", { className: "label" }, text);
const count = (number) => {
  const unread = make("span", { className: "unread" }, String(number));
  unread.append(make("span", { className: "unseen" }, " unread"));
  return unread;
};

/** Returns the second line of an entry: the members of a room, and its last message. */
export function previewOf({ kind, memberCount, last }) {
  const parts = [];
  if (kind === "room" && memberCount) parts.push(plural(memberCount, "member"));
  if (last) parts.push(`${last.name || last.user}: ${last.message.slice(0, PREVIEW_CHARS)}`);
  return parts.join(" · ");
}

export const unreadOfAll = () => [...conversations.values()].reduce((sum, { unread }) => sum + unread, 0);

export function renderLists() {
  for (const [list, kind] of [["rooms", "room"], ["directs", "direct"]]) {
    fill($(list), listed(kind).map((conversation) => {
      const { name, unread, mentions } = conversation;
      const head = [label(kind === "room" ? name : called(name))];
      if (unread) head.push(" ", count(unread));
      if (mentions) head.push(" ", make("span", { className: "unread" }, "@", unseen("you are called")));
      const parts = [...(kind === "direct" ? [avatar(name)] : []), ...head];
      const preview = previewOf(conversation);
      if (preview) parts.push(" ", make("span", { className: "last" }, preview));
      return { name, parts, isCurrent: conversation === chat.shown, press: () => show(conversation) };
    }));
  }
  const unread = unreadOfAll();
  $("unread-elsewhere").hidden = unread === 0;
  $("unread-elsewhere").replaceChildren(String(unread), unseen(" unread"));
  drawTitle(unread);
}
export const listsSoon = after(PAUSE_MS, renderLists);
const unseen = (text) => make("span", { className: "unseen" }, text);

export function renderMembers() {
  const { shown, me } = chat;
  const isRoom = shown?.kind === "room";
  const users = isRoom ? [...shown.members].sort() : [];
  $("member-count").textContent = isRoom ? `(${shown.memberCount})` : "";
  fill($("members"), users.map((user) => {
    const name = nameOf(user);
    const tag = label(user === me ? `${user} (you)` : user);
    if (name) tag.prepend(make("bdi", {}, name), " · ");
    const parts = [avatar(user), tag];
    if (user === me) return { name: user, parts };
    const press = () => { panels(false); show(openConversation("direct", user)); };
    return { name: user, parts, press, title: `Write to ${user}` };
  }));
  const more = isRoom ? shown.memberCount - users.length : 0;
  $("more-members").textContent = more > 0 ? `and ${more} more` : "";
}

export function stopTyping(conversation, user) {
  clearTimeout(conversation.typing.get(user));
  conversation.typing.delete(user);
}

/** Without a connection no event says that a user has stopped typing. */
export function stopAllTyping(conversation) {
  for (const user of [...conversation.typing.keys()]) stopTyping(conversation, user);
  if (conversation === chat.shown) renderTyping();
}

export function renderTyping() {
  const users = chat.shown ? [...chat.shown.typing.keys()].map((user) => nameOf(user) || user) : [];
  const who = users.length > 3 ? "Several people are" : `${users.join(", ")} ${users.length > 1 ? "are" : "is"}`;
  $("typing").textContent = users.length ? `${who} typing…` : "";
}
export const typingSoon = oncePerFrame(renderTyping);
