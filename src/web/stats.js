/** The calculations of the dashboard, without a page: parses server-sent events, computes rates and percentiles. */

/**
 * Longest event that is read, in characters. The longest event of the server has a thousand nodes with some 4,800
 * characters each.
 */
const MAX_EVENT_CHARS = 1 << 23;

/**
 * Creates a reader of server-sent events (HTML standard, section 9.2), which takes pieces of any size.
 * @param {(event: { id: string, type: string, data: string }) => void} onEvent Called once for each event that has
 *   data. The `type` is `message` unless the event names another one.
 * @returns {{ feed(text: string): void, retryMs: number | undefined }} `retryMs` is the server's last `retry` field.
 */
export function sseReader(onEvent) {
  let rest = "";
  let endedWithCr = false;
  let data = [];
  let size = 0;
  const reader = { retryMs: undefined, feed };
  let id = "";
  let type = "message";

  function line(text) {
    if (text === "") {
      if (data.length) onEvent({ id, type, data: data.join("\n") });
      type = "message";
      data = [];
      size = 0;
      return;
    }
    const colon = text.indexOf(":");
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (name === "data") {
      size += value.length;
      if (size > MAX_EVENT_CHARS) throw new RangeError("an event is too long");
      data.push(value);
    } else if (name === "event") {
      type = value || "message";
    } else if (name === "id") {
      id = value;
    } else if (name === "retry" && /^\d+$/.test(value)) {
      reader.retryMs = Number(value);
    }
  }

  function feed(text) {
    // CR LF is one end of a line, even if a piece ends between them.
    if (endedWithCr && text.startsWith("\n")) text = text.slice(1);
    if (text !== "") endedWithCr = text.endsWith("\r");
    const lines = (rest + text).split(/\r\n|\r|\n/);
    rest = lines.pop() ?? "";
    if (rest.length > MAX_EVENT_CHARS) throw new RangeError("a line is too long");
    lines.forEach(line);
  }
  return reader;
}

/**
 * Computes a percentile of a histogram in the unit of its bounds, interpolated within its bucket.
 * @param {number[]} bounds Upper bounds of all buckets except the last, which has none.
 * @param {number[]} counts Number of values in each bucket.
 * @param {number} share The percentile as a fraction: 0.5 is the median.
 * @returns {number | null} Null for an empty histogram. In the last bucket, its lower bound.
 */
export function percentile(bounds, counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return null;
  const rank = share * total;
  let passed = 0;
  for (const [index, count] of counts.entries()) {
    if (count > 0 && passed + count >= rank) {
      const from = bounds[index - 1] ?? 0;
      const to = bounds[index] ?? from;
      return from + (to - from) * ((rank - passed) / count);
    }
    passed += count;
  }
  return bounds.at(-1) ?? null;
}

/** Counters that are shown as rates. */
export const RATES = ["messages", "deliveries", "bytes_sent", "writes", "accepted"];

/** Counters of lost messages and connections, with the words for each. */
export const DROPS = {
  slow_consumers_dropped: "slow consumers", messages_dropped: "messages left out", rate_limited: "rate limited",
};

/**
 * Computes what has changed between two snapshots. Returns null if they cannot be compared, because the server was
 * restarted between them or they are the same one.
 * @returns {null | { seconds: number, rates: Record<string, number>, cpu: number, drops: Record<string, number>,
 *   latency: (number | null)[], shardRates: number[] }} Rates per second; `cpu` in cores; `drops` in events;
 *   `latency` is p50, p90 and p99 in microseconds.
 */
export function compare(before, now) {
  const seconds = (now.uptime_ms - before.uptime_ms) / 1000;
  if (before.started_ms !== now.started_ms || before.node !== now.node || !(seconds > 0)) return null;
  const grown = (name) => Math.max(0, now[name] - before[name]);
  const rates = Object.fromEntries(RATES.map((name) => [name, grown(name) / seconds]));
  const drops = Object.fromEntries(Object.entries(DROPS).map(([name, words]) => [words, grown(name)]));
  const all = ({ refused }) => Object.values(refused).reduce((sum, count) => sum + count, 0);
  drops["refused"] = Math.max(0, all(now) - all(before));
  const counts = now.fanout.map((count, index) => Math.max(0, count - (before.fanout[index] ?? 0)));
  const latency = [0.5, 0.9, 0.99].map((share) => percentile(now.fanout_le_us, counts, share));
  const shardRates = now.shards.map(({ deliveries }, index) => {
    return Math.max(0, deliveries - (before.shards[index]?.deliveries ?? deliveries)) / seconds;
  });
  return { seconds, rates, cpu: grown("cpu_us") / 1e6 / seconds, drops, latency, shardRates };
}

/**
 * Returns the samples of the feed's first event in the form of snapshots, as far as `compare` and the plots read them:
 * oldest first, those behind `after` and at least half a second before `snapshot`.
 * @param {object | null} after The snapshot or sample behind which they begin; null for all.
 */
export function samplesOf({ node, started_ms, fanout_le_us, ...columns }, after, snapshot) {
  if (started_ms !== snapshot.started_ms || node !== snapshot.node) return [];
  const from = after?.started_ms === started_ms ? after.uptime_ms : -1;
  return columns.uptime_ms.flatMap((uptime, index) => {
    if (uptime <= from || uptime > snapshot.uptime_ms - 500) return [];
    const values = Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[index]]));
    return [{ ...values, node, started_ms, fanout_le_us, refused: { all: values.refused }, shards: [] }];
  });
}

/** The newest values of a curve, one per second, oldest first. `null` is a gap. */
export class Series {
  /** @param {number} capacity Largest number of values kept. */
  constructor(capacity) {
    this.capacity = capacity;
    /** @type {(number | null)[]} */
    this.values = [];
  }

  push(value) {
    this.values.push(Number.isFinite(value) ? value : null);
    if (this.values.length > this.capacity) this.values.splice(0, this.values.length - this.capacity);
  }

  get last() { return this.ago(0); }

  /** Returns the value that came so many seconds before the newest one; null if there is none. */
  ago(seconds) { return this.values[this.values.length - 1 - seconds] ?? null; }

  get max() { return this.values.reduce((most, value) => Math.max(most, value ?? 0), 0); }
}

/**
 * Returns the end of a scale: the smallest of 1, 2 and 5 times a power of ten that is not below `value`, and at least
 * `least`.
 * @param {{ base?: number, isLogarithmic?: boolean }} [options] With a `base` of 1024, the result is such a number of
 *   the largest unit that fits. On a logarithmic scale, it is a power of ten.
 */
export function ceiling(value, least = 1, { base = 10, isLogarithmic = false } = {}) {
  if (!(value > least)) return least;
  if (base === 1024) {
    const unit = 1024 ** Math.floor(Math.log2(value) / 10);
    return ceiling(value / unit) * unit;
  }
  if (isLogarithmic) return 10 ** Math.ceil(Math.log10(value) - 1e-9);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9)) ?? value;
}

/**
 * Returns what each value is of their sum, in whole percent that add up to 100: all are rounded down, and the largest
 * remainders get what is left. All are 0 when the sum is.
 * @param {number[]} values Numbers that are not negative.
 */
export function shares(values) {
  const total = values.reduce((sum, value) => sum + value, 0);
  if (!(total > 0)) return values.map(() => 0);
  const exact = values.map((value) => (100 * value) / total);
  const percents = exact.map(Math.floor);
  const left = 100 - percents.reduce((sum, percent) => sum + percent, 0);
  const remainder = (index) => exact[index] - percents[index];
  const order = [...values.keys()].sort((a, b) => remainder(b) - remainder(a));
  for (const index of order.slice(0, left)) percents[index] += 1;
  return percents;
}

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** Formats a time, in milliseconds since the Unix epoch, as the local time of day: 09:05:59. */
export function clock(ms) {
  return Number.isFinite(ms) ? CLOCK.format(ms) : "–";
}

const trimmed = (value, digits) => String(Number(value.toFixed(digits)));

/** Formats a number for people: 1 234, 12.3 k, 4.56 M. Like the formats below, it shows a dash for no number. */
export function count(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 10) return trimmed(value, value < 1 ? 2 : 1);
  if (value < 10_000) return Math.round(value).toString().replace(/(\d)(?=(\d{3})+$)/g, "$1\u202f");
  const [power, unit] = [[9, "G"], [6, "M"], [3, "k"]].find(([power]) => value >= 10 ** power) ?? [0, ""];
  const scaled = value / 10 ** power;
  return `${trimmed(scaled, scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${unit}`;
}

/** Formats bytes in units of 1024. */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  let unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value < 10 ? 2 : 1;
  return `${trimmed(value, digits)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** Formats microseconds in µs, ms or s. */
export function micros(value) {
  if (!Number.isFinite(value)) return "–";
  const [divisor, unit] = value < 1_000 ? [1, "µs"] : value < 1_000_000 ? [1_000, "ms"] : [1_000_000, "s"];
  const scaled = value / divisor;
  return `${trimmed(scaled, scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${unit}`;
}

/** Formats milliseconds as a span of time: 850 ms, 3.2 s, 5 min, 4 h 12 min, 3 d 4 h. */
export function span(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trimmed(ms / 1_000, 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  const [hours, days] = [Math.floor(minutes / 60), Math.floor(minutes / 1_440)];
  if (days > 0) return `${days} d ${hours % 24} h`;
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}
