import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Series, bytes, ceiling, clock, compare, count, micros, percentile, samplesOf, shares, span, sseReader,
} from "../../src/web/stats.js";

/** Returns all events of a stream that arrives in these pieces. */
function read(pieces) {
  const events = [];
  const reader = sseReader((event) => events.push(event));
  for (const piece of pieces) reader.feed(piece);
  return { events, reader };
}

test("events are read wherever the pieces end", () => {
  const stream = "retry: 2000\nid: 1\ndata: {\"a\":1}\n\n: a comment\nid: 2\r\ndata:x\r\ndata: y\r\n\r\nevent: z\n\ndata\r\revent: z\ndata: 7\n\ndata: half";
  const expected = [
    { id: "1", type: "message", data: '{"a":1}' }, { id: "2", type: "message", data: "x\ny" },
    { id: "2", type: "message", data: "" }, { id: "2", type: "z", data: "7" },
  ];
  assert.deepEqual(read([stream]).events, expected);
  assert.deepEqual(read([...stream]).events, expected);
  for (let at = 0; at <= stream.length; at += 1) {
    const { events, reader } = read([stream.slice(0, at), "", stream.slice(at)]);
    assert.deepEqual(events, expected, `cut at ${at}`);
    assert.equal(reader.retryMs, 2_000);
  }
});

test("a stream without line ends is not buffered without limit", () => {
  assert.throws(() => read(Array.from({ length: 200 }, () => "x".repeat(1 << 16))), RangeError);
  assert.throws(() => read(Array.from({ length: 200 }, () => `data: ${"x".repeat(1 << 16)}\n`)), RangeError);
  const many = Array.from({ length: 200 }, () => `data: ${"x".repeat(1 << 16)}\n\n`);
  assert.equal(read(many).events.length, 200);
});

test("percentiles are interpolated within their bucket", () => {
  const bounds = [50, 100, 250];
  assert.equal(percentile(bounds, [0, 0, 0, 0], 0.5), null);
  assert.equal(percentile(bounds, [100, 0, 0, 0], 0.5), 25);
  assert.equal(percentile(bounds, [0, 100, 0, 0], 0.5), 75);
  assert.equal(percentile(bounds, [0, 100, 0, 0], 0.99), 99.5);
  assert.equal(percentile(bounds, [50, 30, 20, 0], 0.5), 50);
  assert.equal(percentile(bounds, [50, 30, 20, 0], 0.9), 175);
  assert.equal(percentile(bounds, [0, 0, 0, 7], 0.5), 250, "nothing is known above");
  assert.equal(percentile(bounds, [99, 0, 0, 1], 0.99), 50);
});

function snapshot(changes = {}) {
  return {
    node: "n", started_ms: 1_000, uptime_ms: 10_000, messages: 100, deliveries: 1_000, bytes_sent: 5_000, writes: 900,
    accepted: 10, cpu_us: 1_000_000, slow_consumers_dropped: 1, messages_dropped: 2, rate_limited: 3,
    refused: { origin: 1 }, fanout_le_us: [50, 100], fanout: [10, 10, 0],
    shards: [{ deliveries: 600 }, { deliveries: 400 }], ...changes,
  };
}

test("rates are differences over the time between", () => {
  const news = compare(snapshot(), snapshot({
    uptime_ms: 12_000, messages: 104, deliveries: 1_400, bytes_sent: 9_000, writes: 1_100, accepted: 10,
    cpu_us: 1_500_000, slow_consumers_dropped: 2, refused: { origin: 4, method: 2 }, fanout: [10, 30, 0],
    shards: [{ deliveries: 900 }, { deliveries: 500 }],
  }));
  assert.equal(news.seconds, 2);
  assert.deepEqual(news.rates, { messages: 2, deliveries: 200, bytes_sent: 2_000, writes: 100, accepted: 0 });
  assert.equal(news.cpu, 0.25);
  assert.deepEqual(news.drops, { "slow consumers": 1, "messages left out": 0, "rate limited": 0, refused: 5 });
  assert.deepEqual(news.latency, [75, 95, 99.5]);
  assert.deepEqual(news.shardRates, [150, 50]);
});

test("the samples of the feed are compared like snapshots", () => {
  const past = {
    node: "n", started_ms: 1_000, fanout_le_us: [50, 100], uptime_ms: [7_000, 8_000, 9_600], messages: [80, 90, 98],
    deliveries: [1, 2, 3], bytes_sent: [1, 2, 3], writes: [1, 2, 3], accepted: [1, 2, 3], cpu_us: [1, 2, 3],
    slow_consumers_dropped: [0, 0, 1], messages_dropped: [0, 0, 0], rate_limited: [0, 0, 0], refused: [0, 1, 1],
    fanout: [[0, 0, 0], [10, 0, 0], [10, 10, 0]],
  };
  const samples = samplesOf(past, null, snapshot());
  assert.deepEqual(samples.map(({ uptime_ms }) => uptime_ms), [7_000, 8_000], "the last one is too near");
  const news = compare(...samples);
  assert.deepEqual([news.seconds, news.rates.messages, news.drops.refused, news.latency[0]], [1, 10, 1, 25]);
  assert.deepEqual([compare(samples[1], snapshot()).rates.messages, compare(samples[1], snapshot()).drops.refused], [5, 0]);
  assert.deepEqual(samplesOf(past, snapshot({ uptime_ms: 7_000 }), snapshot()).map(({ uptime_ms }) => uptime_ms), [8_000]);
  assert.equal(samplesOf(past, snapshot({ started_ms: 900 }), snapshot()).length, 2, "of a server before");
  assert.deepEqual(samplesOf(past, null, snapshot({ started_ms: 2_000 })), []);
});

test("snapshots before and after a restart are not compared", () => {
  const restarted = { started_ms: 2_000, uptime_ms: 11_000, messages: 3 };
  assert.equal(compare(snapshot(), snapshot(restarted)), null);
  assert.equal(compare(snapshot(), snapshot({ node: "other", uptime_ms: 11_000 })), null);
  assert.equal(compare(snapshot(), snapshot()), null, "the same one twice");
  assert.equal(compare(snapshot(), snapshot({ uptime_ms: 9_000 })), null);
  // A counter that went back does not make a negative rate.
  assert.equal(compare(snapshot(), snapshot({ uptime_ms: 11_000, messages: 90 })).rates.messages, 0);
});

test("a series keeps its newest values and gaps", () => {
  const series = new Series(3);
  assert.deepEqual([series.last, series.max], [null, 0]);
  for (const value of [9, 1, undefined, NaN, 4]) series.push(value);
  assert.deepEqual([series.values, series.last, series.max], [[null, null, 4], 4, 4]);
  assert.deepEqual([0, 1, 2, 3, 99].map((ago) => series.ago(ago)), [4, null, null, null, null]);
});

test("scales end at round numbers", () => {
  const cases = [[0, 1], [0.3, 1], [1, 1], [1.1, 2], [3, 5], [5, 5], [7, 10], [10, 10], [1_234, 2_000]];
  for (const [value, expected] of cases) assert.equal(ceiling(value), expected, String(value));
  assert.equal(ceiling(3, 100), 100);
  assert.equal(ceiling(0.03, 0.01), 0.05);
  for (const [value, expected] of [[0, 1_024], [1_025, 2 * 1_024], [37 * 1_024, 50 * 1_024], [3 << 20, 5 << 20]]) {
    assert.equal(ceiling(value, 1_024, { base: 1_024 }), expected, String(value));
  }
  for (const [value, expected] of [[3, 100], [100, 100], [101, 1_000], [969_000, 1e6], [1e6, 1e6]]) {
    assert.equal(ceiling(value, 100, { isLogarithmic: true }), expected, String(value));
  }
});

test("numbers are written for people", () => {
  const numbers = [[0, "0"], [0.257, "0.26"], [3.21, "3.2"], [42, "42"], [1234.4, "1\u202f234"], [12_345, "12.3 k"],
    [123_456, "123 k"], [1_234_567, "1.23 M"], [5e9, "5 G"], [null, "–"], [undefined, "–"]];
  for (const [value, text] of numbers) assert.equal(count(value), text);
  const sizes = [[0, "0 B"], [1023, "1023 B"], [1536, "1.5 KiB"], [64 * 1024, "64 KiB"], [3 * 2 ** 30, "3 GiB"], [null, "–"]];
  for (const [value, text] of sizes) assert.equal(bytes(value), text);
  const times = [[7.77, "7.77 µs"], [125, "125 µs"], [1_500, "1.5 ms"], [25_000, "25 ms"], [5e6, "5 s"], [null, "–"]];
  for (const [value, text] of times) assert.equal(micros(value), text);
  const spans = [[850, "850 ms"], [3_250, "3.3 s"], [300_000, "5 min"], [15_120_000, "4 h 12 min"], [273_600_000, "3 d 4 h"]];
  for (const [value, text] of spans) assert.equal(span(value), text);
});

test("shares add up to 100 percent, and none is further than one from its value", () => {
  for (const [values, expected] of [
    [[], []], [[0, 0], [0, 0]], [[7], [100]], [[1, 1, 1], [34, 33, 33]], [[1, 2, 0], [33, 67, 0]],
    [[2, 2, 2, 1], [29, 29, 28, 14]], [[995, 4, 1], [100, 0, 0]], [[1, 1, 1, 1, 1, 1], [17, 17, 17, 17, 16, 16]],
  ]) assert.deepEqual(shares(values), expected, JSON.stringify(values));
  let seed = 1;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647);
  for (let round = 0; round < 1_000; round += 1) {
    const values = Array.from({ length: 1 + (random() % 70) }, () => random() % 10 ** (random() % 8));
    const total = values.reduce((sum, value) => sum + value, 0);
    if (total === 0) continue;
    const percents = shares(values);
    assert.equal(percents.reduce((sum, percent) => sum + percent, 0), 100, JSON.stringify(values));
    values.forEach((value, index) => assert.ok(Math.abs(percents[index] - (100 * value) / total) < 1));
  }
});

test("a time of day has seconds, and no time is a dash", () => {
  assert.match(clock(1_700_000_000_000), /^\d\d:\d\d:20$/);
  assert.deepEqual([clock(null), clock(undefined)], ["–", "–"]);
});
