/** Going from one conversation to another: shows one, enters and leaves rooms. */
import { $ } from "./dom.js";
import { showSendError, write } from "./field.js";
import { renderLists, renderMembers, renderTyping } from "./lists.js";
import { redraw } from "./log.js";
import { explain, panels } from "./page.js";
import { replaceAddress, writeAddress } from "./route.js";
import { called, chat, conversations, keyOf, listed, openConversation } from "./state.js";

let leftLast = () => {};

/** Installs what is needed to leave: `onLast()` is called when the last room was left. */
export function installRooms({ onLast }) {
  leftLast = onLast;
  $("leave").addEventListener("click", () => leave(chat.shown));
  $("notice-close").addEventListener("click", () => {
    notify(chat.shown, "");
    $("text").focus();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !chat.shown?.unread) return;
    chat.shown.unread = chat.shown.mentions = 0;
    renderLists();
  });
}

/** Shows a line above the messages that the user can dismiss. */
export function notify(conversation, text) {
  if (!conversation) return;
  conversation.notice = text;
  if (conversation === chat.shown) $("notice").textContent = text;
}

/** Shows a conversation. `address` puts it into the address of the page. */
export function show(conversation, address = writeAddress) {
  if (chat.shown) chat.shown.draft = $("text").value;
  if (chat.shown && chat.shown !== conversation) chat.shown.newId = "";
  chat.shown = conversation;
  conversation.unread = conversation.mentions = conversation.below = 0;
  address(conversation);
  const isRoom = conversation.kind === "room";
  $("title").textContent = isRoom ? conversation.name : `Private: ${called(conversation.name)}`;
  $("leave").hidden = !isRoom;
  $("notice").textContent = conversation.notice;
  write(conversation.draft);
  showSendError("");
  redraw();
  renderLists();
  renderMembers();
  renderTyping();
  panels(false);
  $("text").focus();
}

/** Enters a room, if need be, and shows it. Rejects if the server refuses. */
export async function enterRoom(name) {
  await chat.client.join(name);
  show(openConversation("room", name));
}

/** Opens the place of an address. By default no new entry of the history is made, because the page was there before. */
export async function visit({ kind, name }, address = () => {}) {
  const { client } = chat;
  if (!client || !chat.shown) return;
  try {
    if (kind === "room" && !conversations.has(keyOf(kind, name))) await client.join(name);
    if (client === chat.client) show(openConversation(kind, name), address);
  } catch (error) {
    notify(chat.shown, `The room ${name}: ${explain(error)}`);
    replaceAddress(chat.shown);
  }
}

/** Leaves a room. With the last one, the user leaves the chat. */
export function leave(conversation) {
  chat.client.leave(conversation.name);
  conversations.delete(conversation.key);
  if (conversation !== chat.shown) return renderLists();
  chat.shown = null;
  const [next] = listed("room");
  if (next) show(next, replaceAddress);
  else leftLast();
}
