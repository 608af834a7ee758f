/** Nothing waits for ever: neither for an answer that does not come, nor for a mistake to become none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../../src/web/client.js";
import { refusal, stage } from "./fake.mjs";

function online(options) {
  const it = stage(options);
  it.connected = it.client.connect();
  it.current().welcome();
  return it;
}

const ERROR = { type: "error", message: "Invalid JSON format", code: "invalid_json" };
/** Whether a promise is settled by now. */
const isSettled = async (promise) => {
  const pending = {};
  return (await Promise.race([promise.catch(() => {}), new Promise(setImmediate).then(() => pending)])) !== pending;
};

test("an error that names no command is for the one that waits for longest", async () => {
  const { client, current, of } = online();
  const first = client.send("lobby", "one");
  const second = client.send("lobby", "two");
  const history = client.history("lobby");
  current().say(ERROR);
  assert.equal(await refusal(first), "invalid_json");
  assert.equal(current().last("message").message, "two", "the commands behind it go on");
  current().say(ERROR);
  assert.equal(await refusal(history), "invalid_json");
  current().answer("message", { type: "ack", offset: 2 });
  assert.equal((await second).offset, 2);
  assert.deepEqual(of("error"), []);
  current().say(ERROR);
  assert.deepEqual(of("error").map(({ code }) => code), ["invalid_json"], "nobody waits");
});

test("an error of something that has no answer is nobody else's", async () => {
  const { client, current, of } = online();
  const said = client.send("lobby", "one");
  client.typing("elsewhere");
  current().say({ type: "heartbeat" });
  for (const type of ["typing", "heartbeat_ack"]) {
    current().answer(type, { type: "error", message: "Not in this room", code: "not_in_room" });
  }
  assert.equal(of("error").length, 2);
  assert.equal(await isSettled(said), false);
  current().answer("message", { type: "ack", offset: 1 });
  assert.equal((await said).offset, 1);
});

test("being too fast without a word of for what is waited out", async () => {
  const { client, clock, current } = online();
  const said = client.send("lobby", "one");
  current().say({ type: "error", message: "slow", code: "rate_limited", retry_after_ms: 700 });
  clock.advance(1_200);
  assert.equal(current().count("message"), 2);
  current().answer("message", { type: "ack", offset: 1 });
  assert.equal((await said).offset, 1);
});

test("every command has its time, and those behind it go on", async () => {
  const { client, clock, current, sockets } = online({ answerMs: 5_000 });
  const said = client.send("lobby", "one");
  const history = client.history("lobby");
  clock.advance(4_999);
  assert.deepEqual([client.state.name, await isSettled(history)], ["online", false]);
  clock.advance(1);
  assert.deepEqual([client.state.name, client.state.reason], ["waiting", "No answer in time"]);
  assert.equal(await refusal(history), "connection_lost");
  const later = client.send("lobby", "two");
  // The server answers everything but this one message.
  for (let tries = 1; tries < 5; tries += 1) {
    clock.advance(client.state.delayMs);
    current().welcome();
    assert.equal(current().last("message").message, "one");
    clock.advance(5_000);
  }
  assert.equal(sockets.length, 5);
  clock.advance(client.state.delayMs);
  current().welcome();
  assert.equal(await refusal(said), "unknown_outcome");
  current().answer("message", { type: "ack", offset: 1 });
  assert.equal((await later).offset, 1);
});

test("the time of a command counts from when it was asked, and answers end it", async () => {
  const { client, clock, current } = online();
  for (let n = 0; n < 10; n += 1) {
    const page = client.presence("lobby");
    clock.advance(29_999);
    current().say({ type: "heartbeat" });
    current().answer("presence", { type: "presence", users: [], members: 0, more: false });
    assert.deepEqual((await page).users, []);
  }
  assert.equal(client.state.name, "online");
  const first = client.presence("lobby");
  clock.advance(20_000);
  const second = client.presence("lobby");
  current().answer("presence", { type: "presence", users: ["ann"], members: 1, more: false });
  assert.deepEqual((await second).users, ["ann"]);
  clock.advance(10_000);
  assert.equal(await refusal(first), "connection_lost");
});

test("a clock that is set back prolongs no command's time by more than that time", async () => {
  const { client, clock, current } = online({ answerMs: 5_000 });
  const page = client.presence("lobby");
  clock.advance(4_000);
  clock.setBack(86_400_000);
  for (let second = 0; second < 6; second += 1) {
    assert.equal(client.state.name, "online");
    current().say({ type: "heartbeat" });
    clock.advance(1_000);
  }
  assert.equal(await refusal(page), "connection_lost");
});

test("a text that was cut within an emoji is sent whole, wherever it stands", () => {
  const { client, current } = online();
  client.send("lobby", "\ud83d");
  assert.equal(current().last("message").message, "\ufffd");
  client.presence("lobby", { after: "a\udc00b" });
  assert.equal(current().last("presence").after, "a\ufffdb");
  client.history("lobby", { before: 3 });
  assert.equal(current().last("history").before, 3);
  const pairs = online();
  pairs.client.direct("bob", "😀\udc00😀");
  assert.equal(pairs.current().last("direct").message, "😀\ufffd😀");
});

test("what cannot be said is refused at once, and nothing waits behind it", async () => {
  const { client, current } = online();
  for (const [room, text] of [["lobby", undefined], ["lobby", 7], ["lobby", { n: 1n }], [undefined, "hi"]]) {
    assert.equal(await refusal(client.send(room, text)), "invalid_argument");
  }
  await assert.rejects(client.send("lobby"), { message: "message: must be a string, not undefined" });
  await assert.rejects(client.history("lobby", { before: 1n }), TypeError);
  assert.equal(await refusal(client.join("no room!")), "invalid_room");
  assert.equal(await refusal(client.join()), "invalid_room");
  const said = client.send("lobby", "hi");
  current().answer("message", { type: "ack", offset: 1 });
  assert.equal((await said).offset, 1);
  assert.deepEqual(client.rooms, ["lobby"]);
});

test("options that can never do are refused at once", async () => {
  for (const [options, message] of [
    [{ url: undefined }, /^url: must be the server's address .* not undefined/],
    [{ url: "chat.test" }, /^url: .* not "chat.test"/],
    [{ url: "file:///index.html" }, /^url: .* not "file:/],
    [{ url: "about:blank" }, /^url: /],
    [{ user: "ci" }, /^user: must be 3 to 64 of .* not "ci"/],
    [{ user: undefined }, /^user: /],
    [{ user: "a".repeat(65) }, /^user: /],
    [{ room: "no room" }, /^room: must be 1 to 64 of .* not "no room"/],
    [{ room: 7 }, /^room: .* not number/],
    [{ token: 7 }, /^token: must be a string or a function, not number/],
    [{ WebSocket: {} }, /^WebSocket: must be a constructor, not object/],
    [{ maxQueued: "many" }, /^maxQueued: must be a number of at least 1, not "many"/],
    [{ answerMs: NaN }, /^answerMs: /],
  ]) {
    const { client, clock, sockets } = stage(options);
    const queued = client.send("lobby", "hi");
    await assert.rejects(client.connect(), { code: "invalid_argument", message });
    assert.equal(await refusal(queued), "invalid_argument");
    assert.equal(client.state.name, "stopped");
    clock.advance(3_600_000);
    assert.deepEqual([sockets.length, clock.pending], [0, 0], "it goes on trying");
  }
  // In Node there is no page that would know where the server is.
  await assert.rejects(new Client({ user: "alice", WebSocket: class {} }).connect(), { message: /^url: / });
  for (const url of ["http://chat.test", "wss://chat.test/below/", new URL("https://chat.test")]) {
    const { client, sockets } = stage({ url });
    client.connect().catch(() => {});
    assert.equal(sockets.length, 1, String(url));
    client.close();
  }
});

test("what the platform's WebSocket does not take ends it", async () => {
  class Strict {
    constructor() { throw new SyntaxError("not a subprotocol"); }
  }
  const { client, clock } = stage({ WebSocket: Strict });
  await assert.rejects(client.connect(), { code: "stopped", message: "SyntaxError: not a subprotocol" });
  assert.equal(clock.pending, 0);
});

test("what the platform says of a failure tells whether to come back", async () => {
  const tls = (code, cause) => ({ error: Object.assign(new Error("self-signed certificate"), { code, cause }) });
  for (const [event, message] of [
    [tls("DEPTH_ZERO_SELF_SIGNED_CERT"), /^The server's certificate is not trusted: self-signed .*NODE_EXTRA_CA_CERTS/],
    [tls("CERT_HAS_EXPIRED"), /^The server's certificate is not trusted/],
    [tls("ERR_TLS_CERT_ALTNAME_INVALID"), /^The server's certificate is not trusted/],
    [tls("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), /^The server's certificate is not trusted/],
    [tls(undefined, { code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" }), /^The server's certificate is not trusted/],
    [{ message: "Unexpected server response: 403" }, /^The server answers HTTP status 403/],
    [{ message: "Unexpected server response: 200" }, /^The server answers HTTP status 200/],
  ]) {
    const { client, clock, current, sockets } = stage();
    const connected = client.connect();
    current().onerror(event);
    current().end(1006);
    await assert.rejects(connected, { code: "stopped", message });
    clock.advance(3_600_000);
    assert.equal(sockets.length, 1);
  }
  // A token that is expired or early gets this where `admission.refuse` is "http".
  const renewed = stage({ token: async () => "another" });
  renewed.client.connect().catch(() => {});
  await new Promise(setImmediate);
  renewed.current().onerror({ message: "Unexpected server response: 401" });
  renewed.current().end(1006);
  assert.equal(renewed.client.state.name, "waiting");
  renewed.client.close();
  const passing = ["429", "408", "425", "500", "503"].map((status) => ({ message: `Unexpected server response: ${status}` }));
  for (const event of [...passing, tls("ECONNREFUSED"), tls("ENOTFOUND"), {}, undefined]) {
    const { client, clock, current, sockets } = stage();
    client.connect().catch(() => {});
    current().onerror(event);
    current().end(1006);
    clock.advance(500);
    assert.equal(sockets.length, 2, JSON.stringify(event));
    client.close();
  }
});
