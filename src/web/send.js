/** Sends messages, and keeps the ones that could not be sent, for another try. */
import { listsSoon } from "./lists.js";
import { followEnd } from "./log.js";
import { showSendError } from "./field.js";
import { explain } from "./page.js";
import { append, chat, remove } from "./state.js";

const LAST_LINES = 500; // among which a message that was not sent is looked for

export async function send(conversation, text) {
  const { client } = chat;
  const item = { kind: "pending", user: chat.me, name: chat.name, message: text, ts: Date.now() };
  conversation.newId = "";
  append(conversation, item);
  if (conversation === chat.shown) followEnd();
  const isRoom = conversation.kind === "room";
  try {
    await (isRoom ? client.send(conversation.name, text) : client.direct(conversation.name, text));
    remove(conversation, item);
    // A room sends the message back; a private message is not sent back.
    if (!isRoom) append(conversation, { ...item, kind: "message" });
  } catch (error) {
    remove(conversation, item);
    append(conversation, { ...item, kind: "failed", error: explain(error) });
  }
  listsSoon();
  if (client.queued === 0) showSendError("");
}

/** Sends a failed message of the shown conversation again. */
export function sendAgain(item) {
  remove(chat.shown, item);
  send(chat.shown, item.message);
}

/** Takes the last message that was not sent out of the conversation; returns its text. */
export function takeBack(conversation) {
  const item = conversation.items.slice(-LAST_LINES).findLast(({ kind }) => kind === "failed");
  if (item) remove(conversation, item);
  return item?.message;
}
