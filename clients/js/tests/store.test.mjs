/** The view of a room, with a scripted server: the hook for React adds nothing but React. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { message, settled, stage } from "../../../tests/web/fake.mjs";
import { storeOf } from "../room-store.js";

const JOINED = { type: "joined", room: "games", epoch: "g1", offset: 4, recovered: false, members: 2 };

/** Shows the room "games" to somebody; the server answers the join, the history and the number of users. */
async function shown({ keep, history = [3, 4], more = false } = {}) {
  const it = stage();
  it.client.connect();
  it.current().welcome();
  const store = storeOf(it.client, "games", keep);
  let changes = 0;
  const hide = store.subscribe(() => { changes += 1; });
  it.current().answer("join", JOINED);
  await settled();
  const messages = history.map((offset) => ({ ...message(offset, "games"), id: `g-${offset}` }));
  it.current().answer("history", { type: "history", room: "games", epoch: "g1", messages, more });
  await settled();
  it.current().answer("presence", { type: "presence", room: "games", users: ["a"], members: 2, more: true });
  await settled();
  const live = (offset) => it.current().say({ ...message(offset, "games"), id: `g-${offset}` });
  return { ...it, store, hide, live, changes: () => changes };
}
const offsets = (store) => store.get().messages.map(({ offset }) => offset);

test("it shows the history, then live messages, each once", async () => {
  const { store, live, changes, current } = await shown();
  assert.deepEqual([offsets(store), store.get().members, store.get().hasMore], [[3, 4], 2, false]);
  const [before, view] = [changes(), store.get()];
  live(5);
  current().say(message(1, "lobby")); // another room
  assert.deepEqual([offsets(store), changes() - before], [[3, 4, 5], 1]);
  assert.notEqual(store.get(), view, "React compares views by identity");
});

test("a live message that the history has too is shown once", async () => {
  const it = stage();
  it.client.connect();
  it.current().welcome();
  const store = storeOf(it.client, "games");
  store.subscribe(() => {});
  it.current().answer("join", JOINED);
  await settled();
  const both = { ...message(5, "games"), id: "g-5" };
  const next = { ...message(6, "games"), id: "g-6" };
  it.current().say(both);
  it.current().answer("history", { type: "history", room: "games", epoch: "g1", messages: [both, next], more: false });
  await settled();
  assert.deepEqual(offsets(store), [5]);
  it.current().say(next);
  it.current().say({ ...next, offset: 7 }); // one with a known id
  assert.deepEqual(offsets(store), [5, 6]);
});

test("it keeps a bounded number of messages", async () => {
  const { store, live } = await shown({ keep: 3 });
  for (let offset = 5; offset < 50; offset += 1) live(offset);
  assert.deepEqual([offsets(store), store.get().hasMore], [[47, 48, 49], true]);
});

test("it says what was lost", async () => {
  const { store, clock, current, live } = await shown();
  live(7); // 5 and 6 did not come
  assert.equal(store.get().missed, 2);
  current().end(1006);
  assert.equal(store.get().state.name, "waiting");
  clock.advance(500);
  current().welcome();
  current().answer("join", { ...JOINED, epoch: "g2", offset: 0 });
  assert.deepEqual([store.get().missed, store.get().hasMore], [null, false]);
  const asked = current().count("history");
  await store.loadOlder();
  assert.equal(current().count("history"), asked, "older messages are gone");
});

test("older messages are loaded before the oldest one", async () => {
  const { store, current } = await shown({ history: [8, 9], more: true });
  assert.equal(store.get().hasMore, true);
  const loading = store.loadOlder();
  assert.equal(current().last("history").before, 8);
  const messages = [6, 7].map((offset) => ({ ...message(offset, "games"), id: `g-${offset}` }));
  current().answer("history", { type: "history", room: "games", epoch: "g1", messages, more: false });
  await loading;
  assert.deepEqual([offsets(store), store.get().hasMore], [[6, 7, 8, 9], false]);
});

test("it leaves the room behind the last one who looks, and only if it entered it", async () => {
  const { client, store, hide, current } = await shown();
  const second = store.subscribe(() => {});
  hide();
  await settled();
  assert.deepEqual(client.rooms, ["lobby", "games"]);
  second();
  store.subscribe(() => {})(); // as React in strict mode does
  await settled();
  assert.deepEqual([client.rooms, current().count("leave")], [["lobby"], 1]);
  const lobby = storeOf(client, "lobby");
  lobby.subscribe(() => {})();
  await settled();
  assert.deepEqual(client.rooms, ["lobby"], "the client was in it before");
  assert.notEqual(storeOf(client, "games"), store, "a later component begins anew");
});

test("a room that the server refuses is an error of the view", async () => {
  const it = stage();
  it.client.connect();
  it.current().welcome();
  const store = storeOf(it.client, "secret");
  store.subscribe(() => {});
  it.current().answer("join", { type: "error", code: "forbidden", message: "no" });
  await settled();
  assert.equal(store.get().error.code, "forbidden");
});
