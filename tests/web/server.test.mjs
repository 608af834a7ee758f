import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { Backoff } from "../../src/web/client.js";
import { refusal } from "./fake.mjs";
import { enter, serve } from "./server.mjs";
import { sockets } from "./socket.mjs";

const UNLIMITED = { THRONG_RATE_LIMIT__ENABLED: "false", THRONG_DRAIN__WINDOW: "100ms" };

/** A promise that is never settled fails the test after this time. */
const LIMIT = { timeout: 60_000 };

/** Runs a test against a server, and closes its clients and the server afterwards. */
function against(settings, name, body) {
  test(name, LIMIT, async (t) => {
    const server = await serve({ ...UNLIMITED, ...settings });
    const clients = [];
    const inside = (user, options) => {
      const entered = enter(server, user, options);
      clients.push(entered.client);
      return entered;
    };
    t.after(async () => {
      for (const client of clients) client.close();
      await server.stop("SIGKILL");
    });
    await body(server, inside);
  });
}

/** Returns the sockets of one user, newest last. */
const socketsOf = (user) => sockets.filter(({ url }) => url.includes(`/ws/chat/${user}`));

against({}, "two clients chat, in two rooms and in private", async (server, inside) => {
  const [alice, bob] = [inside("alice"), inside("bob")];
  await Promise.all([alice.client.connect(), bob.client.connect()]);
  assert.equal(socketsOf("alice").at(-1).protocol, "throng.v1");
  const ack = await alice.client.send("lobby", "hi <b>all</b>");
  assert.deepEqual([ack.offset, ack.duplicate], [1, false]);
  const { user, message } = await bob.told("message");
  assert.deepEqual([user, message], ["alice", "hi <b>all</b>"]);
  await alice.told("message");

  await Promise.all([alice.client.join("games"), bob.client.join("games")]);
  const { users, members } = await alice.client.presence("games");
  assert.deepEqual([users, members], [["alice", "bob"], 2]);
  bob.client.typing("games");
  assert.deepEqual((await alice.told("typing")).user, "bob");
  await bob.client.send("games", "your turn");
  assert.equal((await alice.told("message", ({ room }) => room === "games")).message, "your turn");

  assert.equal((await bob.client.direct("alice", "psst")).delivered, 1);
  const { user: from, message: secret } = await alice.told("direct");
  assert.deepEqual([from, secret], ["bob", "psst"]);
  const { messages, more } = await bob.client.history("lobby", { limit: 10 });
  assert.deepEqual([messages.map((entry) => entry.message), more], [["hi <b>all</b>"], false]);
});

against({}, "errors reject the commands that caused them", async (server, inside) => {
  const { client } = inside("alice");
  await client.connect();
  assert.equal(await refusal(client.direct("nobody", "hi")), "user_not_found");
  assert.equal(await refusal(client.send("lobby", "x".repeat(501))), "message_too_long");
  assert.equal(await refusal(client.send("elsewhere", "hi")), "not_in_room");
  assert.equal(await refusal(client.join("no room!")), "invalid_room");
  assert.equal((await client.send("lobby", "still here")).offset, 1);
  const bad = inside("a b");
  await assert.rejects(bad.client.connect(), { code: "invalid_argument", message: /^user: must be 3 to 64 of .*"a b"/ });
  const second = inside("alice");
  await assert.rejects(second.client.connect(), { code: "stopped", message: "User ID already in use" });
});

against({}, "a text that was cut within an emoji is published, and so is the next one", async (server, inside) => {
  const { client, told, texts } = inside("alice");
  await client.connect();
  const cut = "a 😀".slice(0, 3);
  const said = [client.send("lobby", cut), client.send("lobby", "next"), client.direct("alice", cut)];
  const [{ offset }, next] = await Promise.all(said);
  assert.deepEqual([offset, next.offset], [1, 2]);
  await told("message", ({ message }) => message === "next");
  assert.deepEqual(texts("lobby"), ["a \ufffd", "next"]);
  assert.equal((await told("direct")).message, "a \ufffd");
  for (const page of [{ limit: Infinity }, { before: 2 ** 80 }, { before: -1 }]) {
    assert.equal(await refusal(client.history("lobby", page)), "invalid_message");
  }
});

test("a server that is no chat is not tried again", LIMIT, async (t) => {
  const server = await serve(UNLIMITED);
  const { client, events } = enter(server, "alice", { url: `${server.url}below/` });
  t.after(async () => {
    client.close();
    await server.stop("SIGKILL");
  });
  await assert.rejects(client.connect(), { code: "stopped", message: "The server answers HTTP status 404" });
  assert.ok(!events.some(({ event }) => event.name === "waiting"));
});

against({}, "after a cut, missed messages arrive once and in order", async (server, inside) => {
  const [alice, bob] = [inside("alice"), inside("bob")];
  await Promise.all([alice.client.connect(), bob.client.connect()]);
  await Promise.all([alice.client.join("games"), bob.client.join("games")]);
  await bob.client.send("lobby", "0");
  await alice.told("message");
  const socket = socketsOf("alice").at(-1);
  socket.deafen();
  const missed = Array.from({ length: 100 }, (_, n) => String(n + 1));
  await Promise.all(missed.map((text) => bob.client.send("lobby", text)));
  for (const text of ["a", "b"]) await bob.client.send("games", text);
  socket.cut();
  const lobby = await alice.told("resumed", ({ room }) => room === "lobby");
  const games = await alice.told("resumed", ({ room }) => room === "games");
  assert.deepEqual([lobby.recovered, lobby.missed, games.recovered, games.missed], [true, 100, true, 2]);
  assert.deepEqual(alice.texts("lobby"), ["0", ...missed]);
  assert.deepEqual(alice.texts("games"), ["a", "b"]);
});

against({}, "a client that was alone has missed nothing when it returns to a forgotten room", async (server, inside) => {
  const network = new EventTarget();
  // It reconnects when the network comes back, and not before.
  const patient = new Backoff({ baseMs: 1_000_000, capMs: 1_000_000, random: () => 1 });
  const { client, told } = inside("alice", { network, backoff: patient });
  const isForgotten = async () => {
    const page = await (await fetch(`${server.url}metrics`)).text();
    return /^throng_rooms 0$/m.test(page);
  };
  await client.connect();
  assert.equal(await isForgotten(), false);
  socketsOf("alice").at(-1).cut();
  await told("state", ({ name }) => name === "waiting");
  while (!await isForgotten()) await new Promise((resolve) => setTimeout(resolve, 10));
  network.dispatchEvent(new Event("online"));
  const { room, recovered, missed } = await told("resumed");
  assert.deepEqual([room, recovered, missed], ["lobby", true, 0]);
  assert.equal((await client.send("lobby", "hi")).offset, 1);
});

against({}, "the client's own half-open connection does not lock it out", async (server, inside) => {
  const [alice, bob] = [inside("alice"), inside("bob")];
  await alice.client.connect();
  await bob.client.connect();
  const socket = socketsOf("alice").at(-1);
  const { onclose } = socket;
  socket.deafen(); // the server still regards the connection as alive
  socket.close = () => {};
  onclose({ code: 1006, reason: "" });
  await alice.told("resumed", ({ recovered }) => recovered);
  assert.equal((await bob.client.direct("alice", "are you there?")).delivered, 1, "the old one is gone");
  await alice.told("direct");
  const notices = bob.events.filter(({ type, event }) => type === "presence_diff" && event.left?.includes("alice"));
  assert.deepEqual(notices, [], "nobody saw her leave");
});

against({}, "a message that is retried with its key is published once", async (server, inside) => {
  const [alice, bob] = [inside("alice"), inside("bob")];
  await Promise.all([alice.client.connect(), bob.client.connect()]);
  const socket = socketsOf("alice").at(-1);
  socket.deafen(); // the ack is lost
  const once = alice.client.send("lobby", "once");
  const later = ["two", "three"].map((text) => alice.client.send("lobby", text));
  await bob.told("message", ({ message }) => message === "once");
  socket.cut();
  assert.deepEqual([(await once).offset, (await once).duplicate], [1, true]);
  assert.deepEqual((await Promise.all(later)).map(({ offset }) => offset), [2, 3]);
  await bob.told("message", ({ message }) => message === "three");
  assert.deepEqual(bob.texts("lobby"), ["once", "two", "three"]);
  await alice.told("message", ({ message }) => message === "three");
  assert.deepEqual(alice.texts("lobby"), ["once", "two", "three"]);
});

test("a server that restarts has forgotten the rooms, and says so", LIMIT, async (t) => {
  let server = await serve(UNLIMITED);
  const [alice, bob] = [enter(server, "alice"), enter(server, "bob")];
  t.after(async () => {
    for (const { client } of [alice, bob]) client.close();
    await server.stop("SIGKILL");
  });
  await Promise.all([alice.client.connect(), bob.client.connect()]);
  await Promise.all([alice.client.join("games"), bob.client.join("games")]);
  await alice.client.send("lobby", "before");
  await bob.told("message");
  await server.stop("SIGKILL");
  await alice.told("state", ({ name, code }) => name === "waiting" && code === 1006);
  await bob.told("state", ({ name }) => name === "waiting");
  const queued = [alice.client.send("games", "while away"), alice.client.direct("bob", "psst")];
  bob.client.close();
  server = await serve(UNLIMITED, server.address);
  for (const room of ["lobby", "games"]) {
    const { recovered, missed } = await alice.told("resumed", (event) => event.room === room);
    assert.deepEqual([recovered, missed], [false, null]);
  }
  assert.equal((await queued[0]).offset, 1, "a new epoch");
  assert.equal(await refusal(queued[1]), "user_not_found", "bob has not come back");
  assert.equal(alice.client.state.name, "online");
});

test("a server that drains says when to reconnect", LIMIT, async (t) => {
  const server = await serve(UNLIMITED);
  const { client, told } = enter(server, "alice");
  t.after(() => client.close());
  await client.connect();
  await server.stop();
  const { code, isAdvised, delayMs } = await told("state", ({ name }) => name === "waiting");
  assert.deepEqual([code, isAdvised], [1012, true]);
  assert.ok(delayMs >= 1_000 && delayMs <= 5_000, `${delayMs}`);
});

const STRICT = {
  THRONG_RATE_LIMIT__ENABLED: "true", THRONG_RATE_LIMIT__BURST: "2", THRONG_RATE_LIMIT__MESSAGES_PER_SECOND: "20",
};
against(STRICT, "a rate limit costs time, not order", async (server, inside) => {
  const { client, told, texts } = inside("alice");
  await client.connect();
  const said = ["1", "2", "3", "4", "5", "6"];
  const acks = await Promise.all(said.map((text) => client.send("lobby", text)));
  assert.deepEqual(acks.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6]);
  await told("limited");
  assert.deepEqual(texts("lobby"), said);
});

const builtIn = globalThis.WebSocket;
const needsBuiltIn = { ...LIMIT, skip: builtIn ? false : "this Node has none" };
test("the platform's WebSocket works", needsBuiltIn, async (t) => {
  const server = await serve(UNLIMITED);
  const { client, told } = enter(server, "alice", { WebSocket: builtIn });
  t.after(async () => {
    client.close();
    await server.stop("SIGKILL");
  });
  await client.connect();
  assert.equal((await client.send("lobby", "grüße")).offset, 1);
  assert.equal((await told("message")).message, "grüße");
});

const SECRET = "a-secret-of-the-tests-that-has-at-least-32-bytes";
const DEMANDING = { THRONG_AUTH__REQUIRED: "true", THRONG_AUTH__SECRET: SECRET, THRONG_AUTH__LEEWAY: "0ms" };

/** Makes a token of HS256. */
function mint(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

against(DEMANDING, "a token is renewed over the same connection before it expires", async (server, inside) => {
  let asked = 0;
  // The third token allows another room: that the client is put out of its room shows that the server has taken it.
  const token = async () => {
    const rooms = ++asked < 3 ? ["lobby"] : ["elsewhere"];
    return mint({ sub: "renewer", exp: Math.floor(Date.now() / 1000) + 4, rooms });
  };
  const alice = inside("renewer", { token });
  await alice.client.connect();
  await alice.told("error", ({ code }) => code === "removed");
  assert.deepEqual([asked, socketsOf("renewer").length, alice.client.state.name], [3, 1, "online"]);
});
