import assert from "node:assert/strict";
import { test } from "node:test";
import { Nodes, choose, dashboardOf, stateOf } from "../../src/web/nodes.js";

function beat(counters = {}) {
  return {
    state: "serving", started_ms: 1_000, uptime_ms: 10_000, connections: 5, max_connections: 100, rooms: 2, accepted: 9,
    messages: 100, deliveries: 1_000, bytes_sent: 5_000, writes: 900, queue_bytes: 30, slow_consumers_dropped: 1,
    messages_dropped: 2, rate_limited: 3, refused: 4, resident_bytes: 1 << 20, cpu_us: 1_000_000, ...counters,
  };
}

function row(name, counters, changes = {}) {
  const incarnation = `${name}-1`;
  return { name, incarnation, version: "1.0", addresses: "10.0.0.1:80", age_ms: 20, is_live: true, counters, ...changes };
}

/** Returns the nodes after these snapshots of the table. */
function after(...tables) {
  const nodes = new Nodes();
  for (const rows of tables) nodes.take(rows);
  return nodes;
}

test("rates come from two beats, whatever snapshots repeat them", () => {
  const later = beat({
    uptime_ms: 13_000, messages: 130, deliveries: 1_600, bytes_sent: 8_000, writes: 900, accepted: 12, cpu_us: 2_500_000,
    slow_consumers_dropped: 4, refused: 10,
  });
  const tables = [[row("a", beat())], [row("a", beat())], [row("a", later)], [row("a", later)]];
  assert.equal(after(tables[0]).all[0].changes, null, "one beat");
  assert.equal(after(tables[0], tables[1]).all[0].changes, null, "the same beat twice");
  const [node] = after(...tables).all;
  assert.deepEqual(node.changes, {
    seconds: 3, rates: { messages: 10, deliveries: 200, bytes_sent: 1_000, writes: 0, accepted: 1 }, cpu: 0.5, latency: [],
    drops: { "slow consumers": 3, "messages left out": 0, "rate limited": 0, refused: 6 },
  });
  assert.deepEqual([node.now.messages, node.first.messages, node.version], [130, 100, "1.0"]);
});

test("beats before and after a restart are not compared", () => {
  const restarted = beat({ started_ms: 2_000, uptime_ms: 12_000, messages: 3 });
  const [node] = after([row("a", beat())], [row("a", restarted)]).all;
  assert.deepEqual([node.changes, node.first.messages], [null, 3]);
  const [back] = after([row("a", beat())], [], [row("a", beat({ uptime_ms: 13_000 }))]).all;
  assert.equal(back.changes, null, "a node that was away is a new one");
});

test("fields of other versions, and fields that are missing, break nothing", () => {
  const strange = { uptime_ms: 13_000, started_ms: 1_000, messages: "many", connections: null, of_a_later_version: 7 };
  const [node] = after([row("a", beat())], [row("a", strange)]).all;
  assert.deepEqual([node.changes.rates.messages, node.changes.cpu, node.now.connections], [undefined, undefined, undefined]);
  for (const nothing of [{}, null, undefined]) {
    const nodes = after([row("a", nothing)], [row("a", nothing)], [row("a", beat())]);
    assert.deepEqual([nodes.all[0].changes, nodes.all[0].now.messages], [null, 100]);
  }
  const { now, changes } = after([row("a", {})]).sums();
  assert.deepEqual([Object.values(now).filter((value) => value !== undefined), changes], [[], null]);
});

test("sums leave out the dead, and rates of the silent", () => {
  const first = [row("a", beat()), row("b", beat({ connections: 7 })), row("c", beat({ connections: 50 }))];
  const moved = beat({ uptime_ms: 12_000, messages: 110, cpu_us: 3_000_000, refused: 8 });
  const nodes = after(first, [
    row("a", moved), row("b", { ...moved, uptime_ms: 15_000, connections: 7, resident_bytes: undefined }),
    row("c", { ...moved, connections: 50 }, { is_live: false }),
  ]);
  const { now, changes } = nodes.sums();
  assert.deepEqual(now, { connections: 12, max_connections: 200, rooms: 4, queue_bytes: 60, resident_bytes: 1 << 20 });
  assert.equal(changes.seconds, 1);
  assert.deepEqual([changes.rates.messages, changes.rates.deliveries], [5 + 2, 0]);
  assert.ok(Math.abs(changes.cpu - 1.4) < 1e-9, changes.cpu);
  assert.ok(Math.abs(changes.drops.refused - 2.8) < 1e-9, changes.drops.refused);

  const silent = [row("a", moved, { age_ms: 10_001 }), row("b", beat({ connections: 7 }), { age_ms: 10_001 })];
  nodes.take(silent);
  assert.equal(nodes.sums().changes, null);
  assert.equal(nodes.sums().now.connections, 12, "the last that is known");
});

test("the address of the page decides on the view", () => {
  const nodes = [{ name: "a" }, { name: "b" }];
  const cases = [
    [{ node: "a" }, null, "own"], [{ node: "a" }, "a", "own"], [{ node: "a" }, "b", "unknown"],
    [{ node: "a", nodes }, null, "all"], [{ node: "a", nodes }, "a", "own"], [{ node: "a", nodes }, "b", "other"],
    [{ node: "a", nodes }, "c", "unknown"],
  ];
  for (const [snapshot, wanted, view] of cases) assert.equal(choose(snapshot, wanted), view, JSON.stringify([snapshot, wanted]));
});

test("states are words", () => {
  assert.equal(stateOf(row("a", beat())), "serving");
  assert.equal(stateOf(row("a", beat(), { age_ms: 25_000 })), "silent for 25 s");
  assert.equal(stateOf(row("a", beat(), { is_live: false })), "dead");
  for (const nothing of [{}, null, { state: 7 }]) assert.equal(stateOf(row("a", nothing)), "–");
});

test("only an address that leads to the node is a link", () => {
  const cases = [
    ["10.0.0.7:8080", "10.0.0.1", "http://10.0.0.7:8080/dashboard?node=n+1"],
    ["[2001:db8::1]:80", "10.0.0.1", "http://[2001:db8::1]/dashboard?node=n+1"],
    ["0.0.0.0:8080 10.0.0.8:81", "10.0.0.1", "http://10.0.0.8:81/dashboard?node=n+1"],
    ["127.0.0.1:8080", "localhost", "http://127.0.0.1:8080/dashboard?node=n+1"],
    ["[::1]:8080", "127.0.0.1", "http://[::1]:8080/dashboard?node=n+1"],
    ["127.0.0.1:8080", "chat.example", null],
    ...["0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80", "10.0.0.1:0", "10.0.0.1", "", "300.0.0.1:80", "[:::1]:80",
      "chat.example:80", "javascript:alert(1)", "10.0.0.1:80/evil", "user@10.0.0.1:80", undefined]
      .map((address) => [address, "localhost", null]),
  ];
  for (const [addresses, host, url] of cases) assert.equal(dashboardOf({ name: "n 1", addresses }, host), url, addresses);
});
