/** Loads what the page does not have yet: older messages of a room, and its members. */
import { listsSoon, renderMembers } from "./lists.js";
import { explain } from "./page.js";
import { notify } from "./rooms.js";
import { chat, isSaid, rememberName, rememberNames, splice } from "./state.js";

const PAGE = 50; // messages or users per request

/** Loads the newest page of a room that was not resumed. Its earlier lines stay, but have no offset any more. */
export async function reload(conversation) {
  for (const item of conversation.items) delete item.offset;
  conversation.hasOlder = false;
  await loadOlder(conversation);
}

export async function loadOlder(conversation, limit = PAGE) {
  if (conversation.isLoading) return;
  conversation.isLoading = true;
  const { items } = conversation;
  const before = items.find((item) => item.offset)?.offset;
  try {
    const page = await chat.client.history(conversation.name, { before, limit });
    const oldest = items.find((item) => item.offset)?.offset ?? Infinity;
    const known = new Set(items.map((item) => item.id));
    const older = page.messages.filter((message) => message.offset < oldest && !known.has(message.id));
    for (const { user, name } of older) rememberName(user, name);
    const first = items.findIndex((item) => item.offset || ["pending", "failed"].includes(item.kind));
    const at = first < 0 ? items.length : first;
    conversation.hasOlder = page.more;
    splice(conversation, at, 0, ...older.map((message) => ({ kind: "message", ...message })));
    conversation.last ??= items.findLast(isSaid) ?? null;
    listsSoon();
  } catch (error) {
    // A lost connection is not shown here: entering the room again loads the page again.
    if (error.code !== "connection_lost") notify(conversation, `Earlier messages: ${explain(error)}`);
  } finally {
    conversation.isLoading = false;
  }
}

export async function loadMembers(conversation) {
  try {
    const { users, members, names } = await chat.client.presence(conversation.name, { limit: PAGE });
    rememberNames(names);
    conversation.members = new Set(users);
    conversation.memberCount = members;
    renderMembers();
    listsSoon();
  } catch (error) {
    if (!["connection_lost", "offline"].includes(error.code)) notify(conversation, `Members: ${explain(error)}`);
  }
}
