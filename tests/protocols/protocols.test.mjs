/**
 * `throng bench` against small servers of other protocols. Its figures have to agree with two independent counts: that
 * of the server, and that of the protocol's official client, which is a member of the room.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bench } from "./bench.mjs";
import * as centrifugo from "./servers/centrifugo.mjs";
import * as phoenix from "./servers/phoenix.mjs";
import * as plain from "./servers/plain.mjs";
import * as pusher from "./servers/pusher.mjs";
import * as socketio from "./servers/socketio.mjs";

const SERVERS = { plain, socketio, centrifugo, phoenix, pusher };
const CONNECTIONS = 40;

/** Fails if two counts differ by more than 5 %. */
function agree(what, count, independent) {
  assert.ok(independent > 0, `${what}: nothing was counted`);
  assert.ok(Math.abs(count / independent - 1) <= 0.05, `${what}: ${count} and ${independent}`);
}

/** Runs a scenario beside an official client, and compares all counts. */
async function compare(protocol, server, options) {
  const seen = await SERVERS[protocol].observe(server);
  const { code, stderr, report } =
    await bench("fanout", server, ["--protocol", protocol, "--connections", CONNECTIONS, ...options]);
  assert.equal(code, 0, stderr);
  const { sent, delivered, missing, surplus } = report.whole_run;
  assert.deepEqual([missing, surplus, report.whole_run.bad_marks, report.unmatched_texts], [0, 0, 0, undefined]);
  agree("messages", sent, seen.messages);
  agree("deliveries", delivered, server.rooms.relayed - seen.messages);
  seen.leave();
  return report;
}

for (const protocol of Object.keys(SERVERS)) {
  test(`${protocol}: at a rate and in a closed loop, the counts agree`, async (t) => {
    const server = await SERVERS[protocol].start();
    t.after(server.stop);
    const report = await compare(protocol, server, ["--publishers", 3, "--rate", 300, "--seconds", 1, "--warm-up", 0.2]);
    agree("messages at the offered rate", report.whole_run.sent, 300 * 1.2);
    server.rooms.relayed = 0;
    await compare(protocol, server, ["--publishers", 2, "--in-flight", 4, "--seconds", 0.5, "--warm-up", 0.2]);
  });
}

test("plain: servers that leave the sender out, and those that answer the sender alone", async (t) => {
  for (const [receivers, expected] of [["others", CONNECTIONS - 1], ["publisher", 1]]) {
    const server = await plain.start({ receivers });
    t.after(server.stop);
    const options = ["--connections", CONNECTIONS, "--in-flight", 2, "--seconds", 0.3, "--warm-up", 0.1];
    const as = receivers === "others" ? ["--protocol", "plain", "--receivers", receivers] : ["--protocol", "echo"];
    const { code, stderr, report } = await bench("fanout", server, [...as, ...options]);
    assert.equal(code, 0, stderr);
    assert.equal(report.whole_run.delivered, expected * report.whole_run.sent);
    assert.equal(report.whole_run.delivered, server.rooms.relayed);
  }
});

for (const protocol of ["centrifugo", "phoenix", "pusher"]) {
  test(`${protocol}: a message stays in its room`, async (t) => {
    const server = await SERVERS[protocol].start();
    t.after(server.stop);
    const rooms = ["--rooms", 4, "--connections", CONNECTIONS, "--seconds", 0.3, "--warm-up", 0.1];
    const { code, stderr, report } = await bench("rooms", server, ["--protocol", protocol, ...rooms]);
    assert.equal(code, 0, stderr);
    const receivers = CONNECTIONS / 4 - (protocol === "pusher" ? 1 : 0);
    assert.equal(report.whole_run.delivered, receivers * report.whole_run.sent);
    assert.equal(report.whole_run.delivered, server.rooms.relayed);
  });
}

test("clients stay alive, busy and idle", async (t) => {
  const beat = 1_500, alive = async (protocol) => {
    const server = await SERVERS[protocol].start({ beat });
    t.after(server.stop);
    const options = ["--protocol", protocol, "--connections", CONNECTIONS, "--heartbeat", 0.5];
    const busy = await bench("fanout", server, [...options, "--rate", 100, "--seconds", 3]);
    assert.equal(busy.code, 0, busy.stderr);
    const idle = await bench("idle", server, [...options, "--hold", 4]);
    assert.equal(idle.code, 0, idle.stderr);
    assert.equal(idle.report.whole_run.closed, 0);
    // Each connection had to show at least twice in each run that it is alive.
    assert.ok(server.beats.answered >= 4 * CONNECTIONS, `${protocol}: ${server.beats.answered} heartbeats`);
  };
  await Promise.all(["socketio", "centrifugo", "phoenix", "pusher"].map(alive));
});

test("a server that does not let clients in is quoted", async (t) => {
  const token = "sesame";
  for (const [protocol, wrong, words, right] of [
    ["socketio", [], "the namespace refuses: {\"message\":\"not you\"}", ["--token", token]],
    ["centrifugo", ["--token", "open"], "connect: 101 unauthorized", ["--token", token]],
    ["phoenix", [], "room:bench-0: unauthorized"],
    ["pusher", ["--secret", "wrong"], "4009 wrong signature", ["--secret", "app-secret"]],
  ]) {
    const server = await SERVERS[protocol].start({ token });
    t.after(server.stop);
    server.options = [];
    const run = (more) => bench("connect", server, ["--protocol", protocol, "--connections", 5, ...more]);
    const refused = await run(wrong);
    assert.equal(refused.code, 1);
    assert.equal(refused.report.handshakes.failed, 5);
    assert.ok(refused.report.complaints[0].includes(words), refused.report.complaints[0]);
    if (!right) continue;
    const admitted = await run(right);
    assert.deepEqual([admitted.code, admitted.report.handshakes.opened], [0, 5], admitted.stderr);
  }
});

test("an error of the server after the join is quoted", async (t) => {
  const server = await centrifugo.start();
  t.after(server.stop);
  const template = `{"id":3,"publish":{"channel":"elsewhere","data":"%s"}}`;
  const { code, stderr } = await bench("fanout", server, [
    "--protocol", "centrifugo", "--template", template, "--connections", 3, "--rate", 20, "--seconds", 0.2,
    "--warm-up", 0, "--drain", 0.2,
  ]);
  assert.equal(code, 1);
  assert.ok(stderr.includes("the server says: publish: 103 permission denied"), stderr);
});
