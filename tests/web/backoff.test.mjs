import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../src/web/client.js";

const longest = (options) => new Backoff({ random: () => 1, ...options });
const times = (count, make) => Array.from({ length: count }, make);

/** mulberry32: the same numbers in every run. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("the ceiling doubles from 500 ms and stays at 20 s", () => {
  const backoff = longest();
  const delays = times(8, () => backoff.next());
  assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  times(2_000, () => backoff.next());
  assert.equal(backoff.next(), 20_000);
});

test("the jitter is full: every delay below the ceiling is as likely", () => {
  const random = seeded(7);
  for (const [attempt, ceiling] of [[0, 500], [3, 4_000], [9, 20_000]]) {
    const samples = times(10_000, () => {
      const backoff = new Backoff({ random });
      times(attempt, () => backoff.next());
      return backoff.next();
    });
    const tenths = times(10, () => 0);
    for (const delay of samples) {
      assert.ok(delay >= 0 && delay < ceiling, `${delay} of ${ceiling}`);
      tenths[Math.floor((10 * delay) / ceiling)] += 1;
    }
    // Five standard deviations of a count of 1,000 among 10,000.
    for (const count of tenths) assert.ok(Math.abs(count - 1_000) < 150, `${tenths} at attempt ${attempt}`);
  }
});

test("thirty healthy seconds begin afresh, a millisecond less does not", () => {
  const backoff = longest();
  times(4, () => backoff.next());
  assert.equal(backoff.next({ healthyForMs: 29_999 }), 8_000);
  assert.equal(backoff.next({ healthyForMs: 30_000 }), 500);
  assert.equal(backoff.next(), 1_000);
});

test("the delay that the server asks for comes first, and later is the minimum", () => {
  const backoff = longest();
  assert.equal(backoff.next({ afterMs: 3_210 }), 3_210);
  assert.equal(backoff.next(), 1_000);
  assert.equal(backoff.next({ afterMs: 0 }), 2_000);
  assert.equal(backoff.next({ afterMs: 5_000 }), 5_000);
  assert.equal(longest().next({ afterMs: 0 }), 0);
  assert.ok(backoff.next({ afterMs: 1e15 }) < 2 ** 31, "a timer would fire at once");
});
