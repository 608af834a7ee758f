import assert from "node:assert/strict";
import { test } from "node:test";
import { contents, nameOf } from "../../src/web/export.js";
import { FIGURES, Recent, judge, overall, stateAt } from "../../src/web/states.js";
import { compare } from "../../src/web/stats.js";

function snapshot(changes = {}) {
  return {
    node: "n", started_ms: 1_000, uptime_ms: 10_000, messages: 0, deliveries: 0, bytes_sent: 0, writes: 0, accepted: 0,
    cpu_us: 0, slow_consumers_dropped: 0, messages_dropped: 0, rate_limited: 0, recovered: 0, not_recovered: 0,
    connections: 10, max_connections: 100, queue_bytes: 0, refused: { at_capacity: 0, tls: 0, origin: 0, draining: 0 },
    closes: { server: {}, client: {} }, fanout_le_us: [1_000, 200_000, 1_000_000], fanout: [0, 0, 0, 0], slowest: [],
    shards: [{ deliveries: 0, inbox_bytes: 0, behind: 0 }], ...changes,
  };
}

/** Returns the figures of one node by name, after these snapshots. */
function after(...snapshots) {
  const recent = new Recent();
  let view;
  snapshots.forEach((now, index) => {
    view = { kind: "own", now, changes: index ? compare(snapshots[index - 1], now) : null, all: [] };
    recent.take(view);
  });
  return Object.fromEntries(judge(view, recent).map((figure) => [figure.name, figure]));
}

test("every figure has thresholds in order, a sentence, and views that exist", () => {
  for (const { name, views, watch, act, todo, text } of FIGURES) {
    assert.ok(watch > 0 && watch <= act && typeof text === "function", name);
    assert.match(todo, /^[A-Z].{20,}[^.]\.$/, name);
    assert.ok(views.split(" ").every((view) => ["own", "all", "other"].includes(view)), name);
  }
  assert.equal(new Set(FIGURES.map(({ name }) => name)).size, FIGURES.length);
});

test("a threshold belongs to the worse state", () => {
  const thresholds = { watch: 10, act: 60 };
  const states = [0, 9.9, 10, 59.9, 60, 1e9].map((value) => stateAt(value, thresholds));
  assert.deepEqual(states, ["fine", "fine", "watch", "watch", "act", "act"]);
  for (const value of [undefined, null, NaN, Infinity]) assert.equal(stateAt(value, thresholds), "no data");
});

test("a server at rest is fine, and says so in one line", () => {
  const figures = Object.values(after(snapshot(), snapshot({ uptime_ms: 11_000 })));
  const others = figures.filter(({ state }) => state !== "fine").map(({ name, state }) => [name, state]);
  assert.deepEqual(others, [["Fan-out latency, p99", "no data"]]);
  assert.ok(figures.every(({ todo }) => todo === ""));
  assert.equal(overall(figures), "Everything is fine.");
});

test("figures are judged by the last minute, and say what to do", () => {
  const start = snapshot();
  const worse = snapshot({
    uptime_ms: 11_000, connections: 80, queue_bytes: 80 * 300_000, deliveries: 10_000, messages_dropped: 5,
    refused: { at_capacity: 2, tls: 15, origin: 3, draining: 500 }, closes: { server: { 1011: 1 }, client: {} },
    fanout: [0, 0, 100, 0], cpu_us: 900_000, not_recovered: 3, recovered: 5,
    slowest: [{ age_ms: 3_500 }], shards: [{ deliveries: 0, inbox_bytes: 7 << 20, behind: null }],
  });
  const figures = after(start, worse);
  const states = Object.fromEntries(Object.entries(figures).map(([name, { state }]) => [name, state]));
  assert.deepEqual(states, {
    "Connections of the limit": "watch", "Refused as full": "act", "Failed handshakes": "watch",
    "Other refusals": "fine", "Refused without engine": "fine", "Queued per connection": "act",
    "Oldest queued message": "watch", "Largest inbox": "act", "Workers without an answer": "watch",
    "Slow consumers ended": "fine", "Messages left out": "watch", "Rate limited": "fine",
    "Resumes that lack messages": "watch", "Fan-out latency, p99": "act", "CPU of the workers": "watch",
    "Ended by a bug": "act",
  });
  assert.equal(figures["Connections of the limit"].text, "80 %");
  assert.match(figures["Refused as full"].todo, /limits\.max_connections/);
  const line = overall(Object.values(figures));
  assert.match(line, /^Act on: Refused as full, .*\. Watch: Connections of the limit, .*\.$/);

  // A minute later nothing more has happened.
  const calm = { ...worse, connections: 10, queue_bytes: 0, slowest: [], shards: start.shards };
  const later = Array.from({ length: 62 }, (_, second) => ({ ...calm, uptime_ms: 12_000 + 1_000 * second }));
  assert.equal(overall(Object.values(after(start, worse, ...later.slice(0, 5)))).startsWith("Act on: Refused"), true);
  assert.equal(overall(Object.values(after(start, worse, ...later))), "Everything is fine.");
});

test("a restart begins a new minute, and numbers that a node does not send are no data", () => {
  const full = snapshot({ uptime_ms: 11_000, refused: { at_capacity: 9 } });
  assert.equal(after(snapshot(), full)["Refused as full"].state, "act");
  assert.equal(after(snapshot(), full, snapshot({ started_ms: 2_000 }))["Refused as full"].state, "fine");
  const recent = new Recent();
  const view = { kind: "other", now: {}, changes: { seconds: 3, rates: {}, drops: {}, latency: [] } };
  recent.take({ ...view, changes: null });
  recent.take(view);
  assert.ok(judge(view, recent).every(({ state, text }) => state === "no data" && text === "–"));
});

test("a beat that comes with several snapshots counts once", () => {
  const recent = new Recent();
  const changes = { seconds: 3, rates: {}, drops: { refused: 6 }, latency: [] };
  const view = { kind: "other", now: {}, changes };
  recent.take({ ...view, changes: null });
  for (let n = 0; n < 3; n += 1) recent.take(view);
  recent.take({ ...view, changes: { ...changes } });
  assert.equal(recent.lost("refused"), 12);
});

test("an export has the times and values of the samples, and a name that files may have", () => {
  const now = new Date(Date.UTC(2026, 0, 2, 3, 4, 5));
  const curves = [{ plot: "Memory", curve: "resident", unit: "bytes", values: [1, null] }];
  const exported = contents({ node: "a", version: "1", subject: "a", figures: [], times: [0, null], curves }, now);
  assert.deepEqual(exported, {
    exported_at: "2026-01-02T03:04:05.000Z", node: "a", version: "1", subject: "a", figures: [],
    times: ["1970-01-01T00:00:00.000Z", null], curves,
  });
  assert.equal(nameOf("a/b: c", now), "throng-a-b-c-2026-01-02T03-04-05.json");
});
