import assert from "node:assert/strict";
import { test } from "node:test";
import { message, refusal, stage } from "./fake.mjs";

const STOPPED = "stopped";

function online(options) {
  const it = stage(options);
  it.connected = it.client.connect();
  it.current().welcome();
  return it;
}

test("it offers throng.v1, and a token behind bearer", async () => {
  const { client, sockets } = stage({ user: "a:b@c" });
  client.connect().catch(() => {});
  assert.equal(sockets[0].url.href, "ws://chat.test/ws/chat/a%3Ab%40c?room=lobby");
  assert.deepEqual(sockets[0].protocols, ["throng.v1"]);
  client.close();
  const other = stage({ url: "https://chat.test/below/", token: async () => "secret" });
  other.client.connect().catch(() => {});
  await new Promise(setImmediate);
  assert.equal(other.sockets[0].url.href, "wss://chat.test/below/ws/chat/alice?room=lobby");
  assert.deepEqual(other.sockets[0].protocols, ["throng.v1", "bearer", "secret"]);
});

test("it claims a name, and messages carry data", async () => {
  const { client, current, of } = online({ name: "Ann \u5c71" });
  assert.equal(current().url.searchParams.get("name"), "Ann \u5c71");
  const said = client.send("lobby", "hi", { a: [1.5, null] });
  assert.deepEqual(current().last("message").data, { a: [1.5, null] });
  current().answer("message", { type: "ack", room: "lobby", epoch: "e1", offset: 1, duplicate: false });
  await said;
  const whispered = client.direct("bob", "psst");
  assert.equal("data" in current().last("direct"), false);
  current().answer("direct", { type: "ack", delivered: 1 });
  await whispered;
  current().say({ ...message(1), name: "Bob", data: [1] });
  assert.deepEqual(of("message").map(({ name, data }) => [name, data]), [["Bob", [1]]]);
});

test("it resumes every room and shows its session", () => {
  const { client, clock, current, sockets, of } = online();
  client.join("games");
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 40, recovered: false, members: 2 });
  current().say(message(1));
  current().say(message(41, "games"));
  current().end(1006);
  clock.advance(500);
  assert.equal(sockets.length, 2);
  const { searchParams } = current().url;
  assert.deepEqual(Object.fromEntries(searchParams), { room: "lobby", resume: "e1:1", session: "s1" });
  current().welcome({ offset: 1, recovered: true });
  const { type, room, resume } = current().last("join");
  assert.deepEqual({ type, room, resume }, { type: "join", room: "games", resume: { epoch: "g1", offset: 41 } });
  for (const offset of [1, 2, 3, 3]) current().say(message(offset)); // 1 and the second 3 are duplicates
  current().answer("join", { type: "joined", room: "games", epoch: "g2", offset: 9, recovered: false, members: 1 });
  current().answer("ping", { type: "pong" });
  const seen = of("message").map(({ room, offset }) => `${room} ${offset}`);
  assert.deepEqual(seen, ["lobby 1", "games 41", "lobby 2", "lobby 3"]);
  const resumed = of("resumed").map(({ room, recovered, missed }) => [room, recovered, missed]);
  assert.deepEqual(resumed, [["lobby", true, 2], ["games", false, null]]);
});

test("a new client goes on at the position of an earlier one", () => {
  const first = online();
  first.client.join("games");
  first.current().say(message(1));
  const { position } = first.client; // "games" was not entered yet
  assert.deepEqual(position, { session: "s1", rooms: [
    { name: "lobby", epoch: "e1", offset: 1 }, { name: "games", epoch: null, offset: 0 },
  ] });
  const { client, current, of } = stage({ room: undefined, position: JSON.parse(JSON.stringify(position)) });
  client.connect();
  const query = Object.fromEntries(current().url.searchParams);
  assert.deepEqual(query, { room: "lobby", resume: "e1:1", session: "s1" });
  current().welcome({ session: "s2", offset: 1, recovered: true });
  current().say(message(2));
  assert.equal("resume" in current().last("join"), false);
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 4, recovered: false, members: 1 });
  current().answer("ping", { type: "pong" });
  assert.deepEqual(of("message").map(({ offset }) => offset), [2]);
  assert.deepEqual(of("resumed").map(({ room, recovered, missed }) => [room, recovered, missed]), [["lobby", true, 1]]);
  assert.equal(client.position.session, "s2");
});

test("lost messages are counted if the epoch is the same", () => {
  const { clock, current, of } = online();
  current().say(message(1));
  current().end(4001);
  clock.advance(500);
  current().welcome({ offset: 301, recovered: false });
  assert.deepEqual(of("resumed").map(({ recovered, missed }) => [recovered, missed]), [[false, 300]]);
});

test("a gap is reported, even if the server did not report it", () => {
  const { current, of } = online();
  current().say({ type: "gap", room: "lobby", from: 1, to: 4 });
  current().say(message(5));
  current().say(message(8));
  assert.deepEqual(of("gap").map(({ from, to }) => [from, to]), [[1, 4], [6, 7]]);
  assert.deepEqual(of("message").map(({ offset }) => offset), [5, 8]);
});

test("after 4003 it comes back to every room, and the server says which one has lost messages", () => {
  const { client, clock, current, of } = online();
  client.join("games");
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 4, recovered: false, members: 2 });
  current().say(message(1));
  current().say({ type: "disconnect", code: 4003, reason: "Position lost", reconnect: true, after_ms: 200 });
  current().end(4003, "Position lost");
  const { name, code, delayMs } = client.state;
  assert.deepEqual({ name, code, delayMs }, { name: "waiting", code: 4003, delayMs: 200 });
  clock.advance(200);
  assert.equal(current().url.searchParams.get("resume"), "e1:1");
  current().welcome({ epoch: "e2", offset: 0 });
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 4, recovered: true, members: 2 });
  current().say(message(5, "games"));
  current().say(message(1)); // the first one of the new epoch
  current().answer("ping", { type: "pong" });
  const resumed = of("resumed").map(({ room, recovered, missed }) => [room, recovered, missed]);
  assert.deepEqual(resumed, [["lobby", false, null], ["games", true, 1]]);
  assert.deepEqual(of("message").map(({ room, offset }) => `${room} ${offset}`), ["lobby 1", "games 5", "lobby 1"]);
});

test("an epoch is taken over for the next resume, and the position stays", () => {
  const { client, clock, current, events } = online();
  current().say(message(1));
  const before = events.length;
  current().say({ type: "epoch", room: "lobby", epoch: "e2", offset: 1 });
  current().say({ type: "epoch", room: "elsewhere", epoch: "e2", offset: 1 });
  assert.equal(events.length, before, "nothing is said about it");
  client.history("lobby").catch(() => {});
  assert.equal(current().last("history").epoch, "e2");
  current().say(message(2));
  current().end(1006);
  clock.advance(500);
  assert.equal(current().url.searchParams.get("resume"), "e2:2");
  // The epoch may also change while the client is away: the answer has the new one, and nothing is missing.
  current().welcome({ epoch: "e3", offset: 2, recovered: true });
  current().say(message(3));
  current().answer("ping", { type: "pong" });
  assert.deepEqual(events.at(-1), { event: "resumed", room: "lobby", recovered: true, missed: 1, code: undefined });
  // It goes on ahead of this client, which may still be told of the messages between.
  current().say({ type: "epoch", room: "lobby", epoch: "e4", offset: 9 });
  // It goes on below this client's position, so that a resume must be refused.
  current().say({ type: "epoch", room: "lobby", epoch: "e5", offset: 2 });
  current().end(1006);
  clock.advance(1_000);
  assert.equal(current().url.searchParams.get("resume"), "e4:3");
});

test("some codes stop it, others do not", async () => {
  for (const code of [1002, 1003, 1007, 1008, 3000, 3003, 4500, 4501, 4502, 4999]) {
    const { client, clock, current, sockets } = online();
    current().end(code, "why");
    assert.deepEqual(client.state, { name: STOPPED, code, reason: "why" });
    clock.advance(3_600_000);
    assert.equal(sockets.length, 1, `came back after ${code}`);
    assert.equal(clock.pending, 0, "a timer is left");
    assert.equal(await refusal(client.send("lobby", "hi")), "stopped");
  }
  for (const code of [1001, 1005, 1006, 1009, 1011, 1012, 1013, 3008, 4001, 4002, 4003, 4499]) {
    const { clock, current, sockets } = online();
    current().end(code);
    clock.advance(500);
    assert.equal(sockets.length, 2, `stayed away after ${code}`);
  }
});

test("a token that is not valid yet is tried again later, even if there is no other", () => {
  const { client, clock, current, sockets } = online({ token: "the-only-one" });
  current().end(3000, "Token not yet valid");
  assert.equal(client.state.name, "waiting");
  clock.advance(500);
  assert.deepEqual(sockets[1].protocols, ["throng.v1", "bearer", "the-only-one"]);
});

test("connect rejects if the server refuses it for good", async () => {
  const { client, current } = stage();
  const connected = client.connect();
  current().end(1008, "User ID already in use");
  await assert.rejects(connected, { code: "stopped", message: "User ID already in use" });
});

test("a disconnect's after_ms is the first delay, and its reconnect is obeyed", () => {
  const { clock, current, sockets, client } = online();
  current().say({ type: "disconnect", code: 1012, reason: "Server restarting", reconnect: true, after_ms: 4_321 });
  current().end(1006); // the close frame itself did not arrive
  assert.deepEqual([client.state.delayMs, client.state.code], [4_321, 1012]);
  clock.advance(4_320);
  assert.equal(sockets.length, 1);
  clock.advance(1);
  assert.equal(sockets.length, 2);
  current().end(1006);
  assert.equal(client.state.delayMs, 1_000, "the second delay is our own");
  clock.advance(1_000);
  current().welcome();
  current().say({ type: "disconnect", code: 1013, reason: "no", reconnect: false, after_ms: 0 });
  current().end(1013);
  assert.equal(client.state.name, STOPPED);
});

test("thirty healthy seconds reset the delays", () => {
  const { client, clock, current } = online();
  current().end(1006);
  clock.advance(500);
  current().end(1006);
  assert.equal(client.state.delayMs, 1_000);
  clock.advance(1_000);
  current().welcome();
  clock.advance(30_000);
  current().end(1006);
  assert.equal(client.state.delayMs, 500);
});

test("heartbeats are answered, and silence ends the connection", () => {
  const { client, clock, current, sockets } = online();
  const first = current();
  clock.advance(25_000);
  first.say({ type: "heartbeat" });
  assert.equal(first.count("heartbeat_ack"), 1);
  clock.advance(34_999);
  assert.equal(client.state.name, "online");
  clock.advance(1);
  assert.deepEqual([client.state.name, client.state.code, first.isClosed], ["waiting", 3008, true]);
  clock.advance(500);
  assert.equal(sockets.length, 2);
  clock.advance(15_000); // also if the connection is never established
  assert.equal(client.state.name, "waiting");
});

test("a change of the network makes it check its connection", () => {
  const { client, clock, current, network, sockets } = online();
  network.dispatchEvent(new Event("offline"));
  current().answer("ping", { type: "pong" });
  clock.advance(1);
  network.dispatchEvent(new Event("offline"));
  clock.advance(2_999);
  assert.equal(client.state.name, "online");
  clock.advance(1);
  assert.equal(client.state.name, "waiting");
  network.dispatchEvent(new Event("online"));
  assert.equal(sockets.length, 2, "back at once");
  current().say({ type: "disconnect", code: 1012, reason: "", reconnect: true, after_ms: 5_000 });
  current().end(1012);
  network.dispatchEvent(new Event("online"));
  assert.equal(sockets.length, 2, "it waits as long as the server asks");
});

test("messages sent while offline wait in order and keep their keys", async () => {
  const { client, clock, current } = online();
  const first = client.send("lobby", "one");
  const second = client.direct("bob", "two");
  const { key } = current().last("message");
  assert.match(key, /^[\d-]{1,64}$/);
  assert.equal(current().count("direct"), 0, "one at a time");
  current().end(1006);
  clock.advance(500);
  current().welcome();
  assert.equal(current().last("message").key, key);
  current().answer("message", { type: "ack", room: "lobby", epoch: "e1", offset: 1, duplicate: true });
  current().answer("direct", { type: "ack", delivered: 1 });
  assert.equal((await first).offset, 1);
  assert.equal((await second).delivered, 1);
  assert.notEqual(current().last("direct").key, key);
  assert.equal(client.queued, 0);
});

test("the queue has a limit, and after a rate limit it waits", async () => {
  const { client, clock, current, of } = online({ maxQueued: 2 });
  const said = [client.send("lobby", "one"), client.send("lobby", "two")];
  assert.equal(await refusal(client.send("lobby", "three")), "queue_full");
  current().answer("message", { type: "error", message: "slow", code: "rate_limited", retry_after_ms: 700 });
  assert.deepEqual(of("limited").map(({ retryAfterMs }) => retryAfterMs), [700]);
  clock.advance(699);
  assert.equal(current().count("message"), 1);
  clock.advance(426); // the pace is one message per 1.125 s
  current().answer("message", { type: "ack", offset: 1 });
  // Sent at once, it would be refused again, and too many refusals end the connection.
  clock.advance(1_124);
  assert.equal(current().count("message"), 2);
  clock.advance(1);
  current().answer("message", { type: "error", message: "gone", code: "unavailable" });
  assert.equal((await said[0]).offset, 1);
  assert.equal(await refusal(said[1]), "unavailable");
});

test("a message is not retried if it could be published twice", async () => {
  const { client, clock, current } = online();
  const said = client.send("lobby", "hi");
  current().end(1006);
  clock.advance(500);
  const later = clock.now() + 300_000;
  while (clock.now() < later) {
    current().end(1006);
    clock.advance(client.state.delayMs);
  }
  current().welcome();
  assert.equal(current().count("message"), 0);
  assert.equal(await refusal(said), "unknown_outcome");
});

test("a message that ends every connection is rejected", async () => {
  const { client, clock, current } = online();
  const poison = client.send("lobby", "poison");
  const large = client.send("lobby", "large");
  for (let tries = 0; tries < 5; tries += 1) {
    current().end(1011);
    clock.advance(client.state.delayMs);
    current().welcome();
  }
  assert.equal(await refusal(poison), "unknown_outcome");
  assert.equal(current().last("message").message, "large");
  current().end(1009);
  assert.equal(await refusal(large), "message_too_long");
});

test("queries do not wait for a connection, and are rejected when it is lost", async () => {
  const { client, current } = online();
  const history = client.history("lobby", { before: 5 });
  assert.deepEqual(current().last("history").epoch, "e1");
  current().end(1006);
  assert.equal(await refusal(history), "connection_lost");
  assert.equal(await refusal(client.presence("lobby")), "offline");
});

test("a room that the server refuses is forgotten", async () => {
  const { client, current } = online();
  const joined = client.join("secret");
  current().answer("join", { type: "error", message: "Forbidden", code: "forbidden" });
  assert.equal(await refusal(joined), "forbidden");
  assert.deepEqual(client.rooms, ["lobby"]);
});

test("rooms are joined one after the other, and after a rate limit it waits", () => {
  const { client, clock, current } = online();
  const joins = () => current().sent.filter(({ type }) => type === "join").map(({ room }) => room);
  for (const room of ["a", "b", "c"]) client.join(room);
  assert.deepEqual(joins(), ["a"]);
  current().answer("join", { type: "joined", room: "a", epoch: "a1", offset: 0, recovered: false });
  assert.deepEqual(joins(), ["a", "b"]);
  current().answer("join", { type: "error", message: "slowly", code: "rate_limited", retry_after_ms: 300 });
  clock.advance(299);
  assert.deepEqual(joins(), ["a", "b"]);
  clock.advance(1);
  assert.deepEqual(joins(), ["a", "b", "b"]);
  current().answer("join", { type: "joined", room: "b", epoch: "b1", offset: 0, recovered: false });
  assert.deepEqual(joins(), ["a", "b", "b", "c"]);
  assert.deepEqual(client.rooms, ["lobby", "a", "b", "c"]);
});

test("an error without a close event ends the connection", () => {
  const { client, clock, current } = online();
  current().onerror();
  clock.advance(0);
  assert.equal(client.state.name, "waiting");
});

test("a sender that waits for each ack keeps to the rate, and may burst again after a pause", async () => {
  const { client, clock, current } = online();
  const slow = client.send("lobby", "hi");
  current().answer("message", { type: "error", message: "slow", code: "rate_limited", retry_after_ms: 10 });
  clock.advance(1_125);
  current().answer("message", { type: "ack", offset: 1 });
  await slow;
  const sent = current().count("message");
  client.send("lobby", "too fast");
  assert.equal(current().count("message"), sent);
  clock.advance(1_125);
  assert.equal(current().count("message"), sent + 1);
  current().answer("message", { type: "ack", offset: 2 });
  clock.advance(5_001);
  client.send("lobby", "after a pause");
  assert.equal(current().count("message"), sent + 2);
  current().answer("message", { type: "ack", offset: 3 });
  client.send("lobby", "at once");
  assert.equal(current().count("message"), sent + 3);
});

test("messages for a room wait until the room is entered again", () => {
  const { client, clock, current } = online();
  client.join("games");
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 0, recovered: false });
  current().end(1006);
  client.send("games", "hi");
  clock.advance(500);
  current().welcome();
  assert.deepEqual([current().count("join"), current().count("message")], [1, 0]);
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 0, recovered: true });
  assert.equal(current().last("message").message, "hi");
});

test("if a retry is refused, the outcome of the first try is unknown", async () => {
  const { client, clock, current } = online();
  const said = client.send("lobby", "hi");
  current().end(1006);
  clock.advance(500);
  current().welcome();
  current().answer("message", { type: "error", message: "no", code: "forbidden" });
  assert.equal(await refusal(said), "unknown_outcome");
});

test("a room that is left while connecting stays left", () => {
  const { client, clock, current, of } = online();
  client.join("games");
  current().answer("join", { type: "joined", room: "games", epoch: "g1", offset: 0, recovered: false });
  current().end(1006);
  clock.advance(500);
  client.leave("lobby");
  current().welcome();
  assert.equal(current().last("leave").room, "lobby");
  current().say(message(1));
  assert.deepEqual([client.rooms, of("message")], [["games"], []]);
});

test("a function that never returns a token has the same time limit as a connection", async () => {
  const { client, clock } = stage({ token: () => new Promise(() => {}) });
  client.connect().catch(() => {});
  await new Promise(setImmediate);
  clock.advance(15_000);
  assert.equal(client.state.name, "waiting");
});

test("a token that is expired or not valid yet is replaced, after a delay that grows", async () => {
  let asked = 0;
  const { client, clock, current, sockets } = stage({ token: async () => `token-${++asked}` });
  const connected = client.connect();
  await new Promise(setImmediate);
  for (const [delayMs, reason] of [[250, "Token expired"], [1_000, "Token not yet valid"], [2_000, "Token expired"]]) {
    const before = sockets.length;
    current().say({ type: "disconnect", code: 3000, reason, reconnect: true, after_ms: 250 });
    current().end(3000, reason);
    assert.deepEqual([client.state.name, client.state.delayMs, client.state.code], ["waiting", delayMs, 3000]);
    clock.advance(delayMs - 1);
    await new Promise(setImmediate);
    assert.equal(sockets.length, before);
    clock.advance(1);
    await new Promise(setImmediate);
    assert.deepEqual(current().protocols, ["throng.v1", "bearer", `token-${before + 1}`]);
  }
  current().welcome();
  await connected;
  assert.equal(asked, 4);
});

test("a token is renewed before it expires, on the same connection", async () => {
  let asked = 0;
  const { client, clock, current, sockets } = stage({ token: async () => `token-${++asked}` });
  const connected = client.connect();
  await new Promise(setImmediate);
  current().welcome({ expires_ms: 100_000 });
  await connected;
  for (const number of [2, 3]) {
    // The server pings a silent client; its silence is not what is tested.
    const pass = (ms) => { clock.advance(ms); current().say({ type: "heartbeat" }); };
    for (let ms = 0; ms < 75_000; ms += 25_000) pass(24_999);
    await new Promise(setImmediate);
    assert.equal(asked, number - 1, "not before three quarters of the time");
    pass(15_003);
    await new Promise(setImmediate);
    assert.deepEqual([asked, current().last("token").token], [number, `token-${number}`]);
    current().answer("token", { type: "ack", expires_ms: 100_000 });
  }
  assert.equal(sockets.length, 1);
  assert.equal(client.state.name, "online");
});

test("a renewal that fails is tried again while there is time, and not after that", async (context) => {
  context.mock.method(Math, "random", () => 0); // after three quarters of the time that is left
  let asked = 0;
  const answers = [() => "first", () => { throw new Error("no backend"); }, () => undefined, () => "bad", () => "good"];
  const { client, clock, current } = stage({ token: async () => answers[asked++]() });
  const connected = client.connect();
  await new Promise(setImmediate);
  current().welcome({ expires_ms: 100_000 });
  await connected;
  const pass = async (ms) => {
    for (; ms > 0; ms -= 10_000) {
      clock.advance(Math.min(ms, 10_000));
      current().say({ type: "heartbeat" }); // the server pings a silent client
    }
    await new Promise(setImmediate);
  };
  for (const [ms, count, sent] of [[75_000, 2, 0], [18_750, 3, 0], [4_688, 4, 1]]) {
    await pass(ms - 10);
    assert.equal(asked, count - 1);
    await pass(10);
    assert.deepEqual([asked, current().count("token")], [count, sent]);
  }
  assert.equal(current().last("token").token, "bad");
  current().answer("token", { type: "error", code: "invalid_token", message: "Token refused" });
  await pass(1_200);
  assert.deepEqual([asked, current().last("token").token], [5, "good"]);
  // So little is left that the next connection brings another token.
  current().answer("token", { type: "ack", expires_ms: 900 });
  await pass(100_000);
  assert.deepEqual([asked, client.state.name], [5, "online"]);
});

test("a token that never changes is not renewed", async () => {
  const { client, clock, current } = online({ token: "the-only-one" });
  client.close();
  const other = stage({ token: "the-only-one" });
  other.client.connect();
  other.current().welcome({ expires_ms: 10_000 });
  other.clock.advance(9_999);
  assert.equal(other.current().count("token"), 0);
  assert.equal(current().count("token") + clock.pending, 0);
});

test("join is rejected after it has stopped", async () => {
  const { client, current } = online();
  current().end(4501, "Replaced");
  assert.equal(await refusal(client.join("games")), "stopped");
});

test("a room that an operator took the user out of is not entered again", async () => {
  const { client, current, clock } = stage();
  const errors = [];
  client.on("error", (error) => errors.push([error.code, error.message]));
  client.connect();
  current().welcome();
  const joined = client.join("tea");
  current().answer("join", { type: "joined", room: "tea", epoch: "e2", offset: 0, recovered: false });
  await joined;
  current().say({ type: "left", room: "tea" });
  current().say({ type: "left", room: "none" });
  assert.deepEqual(errors, [["removed", "The server took you out of the room tea"]]);
  current().end(1006);
  clock.advance(20_000);
  current().welcome();
  assert.equal(current().count("join"), 0);
  client.close();
});

test("a room that was left is not entered again", () => {
  const { client, clock, current, of } = online();
  client.leave("lobby");
  current().say(message(1));
  current().say({ type: "typing", room: "lobby", user: "bob" });
  assert.deepEqual([of("message"), of("typing")], [[], []]);
  current().end(1006);
  clock.advance(500);
  current().welcome();
  assert.equal(current().last("leave").room, "lobby");
  assert.deepEqual(client.rooms, []);
});
