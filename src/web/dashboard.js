/** The dashboard: reads the server's stream of snapshots and shows them. Texts become text nodes, never HTML. */
import { Backoff } from "./client.js";
import { Countdown } from "./countdown.js";
import { make } from "./messages.js";
import { Series, bytes, ceiling, compare, count, micros, span, sseReader } from "./stats.js";

const POINTS = 300; // one per second: five minutes
const SILENCE_MS = 10_000; // reconnect after this time without data; the server sends a snapshot every second
const KEY = "throng.key"; // name in the storage of the tab, which ends with the tab
const LEAST_US = 10; // lower end of the scale of latencies
const MAX_LINES = 8; // lines of a plot's grid

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const draw = (tag, attributes = {}) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
/** Changes the text of an element only if it differs, so that the browser does not lay it out again. */
const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };

// Plots. A curve is its name and a function from a snapshot and the changes since the one before to a value.

const rate = (name) => (_, changes) => changes?.rates[name];
const dropped = (reason) => (_, changes) => changes && changes.drops[reason] / changes.seconds;
const latency = (index) => (_, changes) => changes?.latency[index];
const perSecond = (value) => `${count(value)}/s`;

const PLOTS = [
  {
    title: "Connections", format: count,
    curves: [["connections", (now) => now.connections], ["rooms", (now) => now.rooms]],
  },
  { title: "Messages per second", format: perSecond, curves: [["received", rate("messages")]] },
  {
    title: "Deliveries per second", format: perSecond,
    curves: [["delivered", rate("deliveries")], ["writes", rate("writes")]],
  },
  {
    title: "Fan-out latency", format: micros, least: LEAST_US, isLogarithmic: true,
    curves: [["p50", latency(0)], ["p90", latency(1)], ["p99", latency(2)]],
  },
  {
    title: "Queued for clients", format: bytes, least: 1024, base: 1024,
    curves: [["in queues", (now) => now.queue_bytes]],
  },
  {
    title: "Sent", format: (value) => `${bytes(value)}/s`, least: 1024, base: 1024,
    curves: [["bytes", rate("bytes_sent")]],
  },
  {
    title: "Drops per second", format: perSecond,
    curves: ["slow consumers", "messages left out", "rate limited", "refused"]
      .map((reason) => [reason, dropped(reason)]),
  },
  {
    title: "CPU", format: (value) => `${count(value)} cores`, least: 0.1,
    curves: [["in use", (_, changes) => changes?.cpu]],
  },
  { title: "Memory", format: bytes, least: 1 << 20, base: 1024, curves: [["resident", (now) => now.resident_bytes]] },
];

class Plot {
  #options; #curves; #svg; #lines; #scale;

  constructor(options, index) {
    this.#options = options;
    const { title, curves } = options;
    const label = `${title} over the last five minutes; numbers in the table below`;
    this.#svg = draw("svg", { role: "img", "aria-label": label });
    const lines = Array.from({ length: MAX_LINES });
    this.#lines = lines.map(() => draw("line", { class: "grid" }));
    this.#scale = lines.map(() => draw("text", { class: "scale", x: 2 }));
    this.#curves = curves.map(([name, take], nth) => ({
      name, take, series: new Series(POINTS), path: draw("path", { class: `curve c${nth + 1}` }),
      now: make("td", { className: "number" }), most: make("td", { className: "number" }),
    }));
    this.#svg.append(...this.#lines, ...this.#curves.map(({ path }) => path), ...this.#scale);
    const head = (text) => make("th", { scope: "col", className: "number" }, text);
    const rows = this.#curves.map(({ name, now, most }, nth) => {
      const key = make("span", { className: `key c${nth + 1}` });
      key.setAttribute("aria-hidden", "true");
      return make("tr", {}, make("th", { scope: "row" }, key, name), now, most);
    });
    const table = make("table", { className: "legend" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Curve"), head("Now"), head("Most"))),
      make("tbody", {}, ...rows));
    const heading = make("h3", { id: `plot-${index}` }, title);
    this.figure = make("figure", {}, heading, this.#svg, table);
    this.figure.setAttribute("aria-labelledby", heading.id);
  }

  take(now, changes) {
    for (const { series, take } of this.#curves) series.push(now && take(now, changes));
  }

  render() {
    const { format, least = 1, isLogarithmic } = this.#options;
    const highest = Math.max(...this.#curves.map(({ series }) => series.max));
    const most = ceiling(highest, isLogarithmic ? 10 * least : least, this.#options);
    const { clientWidth: width, clientHeight: height } = this.#svg;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [top, bottom] = [14, height - 2];
    const share = isLogarithmic
      ? (value) => Math.max(0, Math.log(value / least) / Math.log(most / least))
      : (value) => value / most;
    const y = (value) => (bottom - share(value) * (bottom - top)).toFixed(1);
    const decades = Math.round(Math.log10(most / least));
    const ticks = isLogarithmic ? Array.from({ length: decades + 1 }, (_, n) => least * 10 ** n) : [0, most / 2, most];
    this.#lines.forEach((line, index) => {
      const tick = ticks[index];
      const at = tick === undefined ? bottom : y(tick);
      for (const [name, value] of [["x1", 0], ["x2", width], ["y1", at], ["y2", at]]) line.setAttribute(name, value);
      // The lowest line has no label.
      write(this.#scale[index], index > 0 && tick !== undefined ? format(tick) : "");
      this.#scale[index].setAttribute("y", at - 3);
    });
    for (const { series, path, now, most } of this.#curves) {
      const { values } = series;
      let d = "";
      let isDown = false;
      values.forEach((value, index) => {
        const x = ((width * (POINTS - values.length + index + 1)) / POINTS).toFixed(1);
        if (value !== null) d += `${isDown ? "L" : "M"}${x} ${y(value)}`;
        isDown = value !== null;
      });
      path.setAttribute("d", d);
      write(now, values.length ? format(series.last) : "–");
      write(most, values.some((value) => value !== null) ? format(series.max) : "–");
    }
  }
}

const plots = PLOTS.map((options, index) => new Plot(options, index));

// Numbers and tables

const FACTS = [
  ["Connections", (now) => `${count(now.connections)} of ${count(now.max_connections)}`],
  ["Rooms", (now) => count(now.rooms)],
  ["Messages", (_, changes) => perSecond(changes?.rates.messages)],
  ["Deliveries", (_, changes) => perSecond(changes?.rates.deliveries)],
  ["Queued", (now) => bytes(now.queue_bytes)],
  ["Behind", (now) => count(now.shards.reduce((sum, { behind }) => sum + (behind ?? 0), 0))],
  ["Resumes recovered", (now) => `${count(now.recovered)} of ${count(now.recovered + now.not_recovered)}`],
  ["Memory", (now) => bytes(now.resident_bytes)],
  ["CPU", (_, changes) => (changes ? `${count(changes.cpu)} cores` : "–")],
  ["Uptime", (now) => span(now.uptime_ms)],
  ["Node", (now) => now.node],
  ["Version", (now) => now.version],
  ["Dashboard viewers", (now) => count(now.viewers)],
].map(([name, text]) => {
  const value = make("dd", {}, "–");
  return { text, value, row: make("div", {}, make("dt", {}, name), value) };
});
$("facts").append(...FACTS.map(({ row }) => row));
$("plots").append(...plots.map(({ figure }) => figure));

/** Sets the rows of a table's body. The first cell of a row is its header; columns from `numbers` on hold numbers. */
function fill(body, rows, numbers) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    if (!body.rows[index]) {
      body.append(make("tr", {}, ...cells.map((_, column) => {
        const cell = make(column === 0 ? "th" : "td", { className: column >= numbers ? "number" : "" });
        if (column === 0) cell.scope = "row";
        return cell;
      })));
    }
    cells.forEach((text, column) => write(body.rows[index].cells[column], text));
  });
}

const CODES = {
  1000: "inactivity timeout", 1001: "going away", 1002: "protocol error", 1003: "binary refused",
  1007: "invalid data", 1008: "request refused", 1009: "message too big", 1011: "internal error",
  1012: "restart", 1013: "overloaded", 3000: "token expired or early", 3003: "forbidden", 3008: "heartbeat timeout",
  4001: "slow consumer", 4002: "too fast", 4003: "position lost", 4501: "replaced", 4502: "malformed input",
};
// A client may send any code; only these have a known meaning.
const CLIENT_CODES = { 1000: "normal", 1001: "went away", 1005: "no code given", 1006: "no close frame" };

function renderTables(now, changes, first) {
  const slowest = now.slowest.map(({ user, connection, shard, bytes: queued, messages, age_ms }) => {
    return [user ?? "(no user)", connection, String(shard), bytes(queued), count(messages), span(age_ms)];
  });
  $("slowest-none").hidden = slowest.length > 0;
  $("slowest-frame").hidden = slowest.length === 0;
  fill($("slowest"), slowest, 2);

  const connections = Math.max(1, now.connections);
  fill($("shards"), now.shards.map((shard, index) => [
    String(index), count(shard.connections), `${Math.round((100 * shard.connections) / connections)} %`,
    count(changes?.shardRates[index]), bytes(shard.queue_bytes), bytes(shard.inbox_bytes),
    shard.behind === null ? "no answer" : count(shard.behind),
  ]), 1);
  [...$("shards").rows].forEach((row, index) => showShare(row.cells[2], now.shards[index].connections / connections));

  const row = (words, value, before) => [words, count(value), count(Math.max(0, value - before))];
  const drops = [
    ["slow consumers, 4001", "slow_consumers_dropped"], ["messages left out of queues", "messages_dropped"],
    ["rate limited", "rate_limited"], ["resumes not recovered", "not_recovered"],
  ].map(([words, name]) => row(words, now[name], first[name]));
  const refused = Object.entries(now.refused).filter(([, value]) => value > 0);
  fill($("drops"), [
    ...drops,
    ...refused.map(([reason, value]) => row(`refused: ${reason.replaceAll("_", " ")}`, value, first.refused[reason])),
  ], 1);
  const meaning = (by, code) => (by === "server" ? CODES[code] ?? "" : CLIENT_CODES[code] ?? "chosen by the client");
  const closes = Object.entries(now.closes).flatMap(([by, codes]) => Object.entries(codes)
    .filter(([, value]) => value > 0)
    .map(([code, value]) => [code, by, meaning(by, code), count(value)]));
  fill($("closes"), closes.length ? closes : [["–", "–", "no connection has ended yet", "0"]], 3);
}

/** Draws a share as a bar next to the number in a cell. Screen readers read the number alone. */
function showShare(cell, share) {
  let bar = cell.querySelector("svg");
  if (!bar) {
    bar = draw("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(draw("rect", { height: 10 }));
    cell.append(bar);
  }
  bar.firstChild.setAttribute("width", Math.round(100 * share));
}

// Snapshots

let last = null;
let first = null;
let changes = null;
let lastAt = 0;
let isDue = false;

function take(snapshot) {
  const at = performance.now();
  changes = last && compare(last, snapshot);
  // The same snapshot again, from the same server and moment.
  if (last && !changes && last.started_ms === snapshot.started_ms && last.uptime_ms === snapshot.uptime_ms) return;
  // The time between snapshots is measured by the server's clock, so that snapshots that arrive late together leave no
  // gap; after a restart of the server, it is measured by the clock of this page.
  const seconds = changes ? changes.seconds : (at - lastAt) / 1_000;
  const missed = last ? Math.min(POINTS, Math.round(seconds) - 1) : 0;
  for (let second = 0; second < missed; second += 1) plots.forEach((plot) => plot.take(null, null));
  if (!first || first.started_ms !== snapshot.started_ms) first = snapshot;
  last = snapshot;
  lastAt = at;
  plots.forEach((plot) => plot.take(snapshot, changes));
  schedule();
}

/** Draws with the next frame. A hidden page has no frames and is drawn when it is shown again. */
function schedule() {
  if (isDue || !last) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    $("numbers").hidden = false;
    for (const { text, value } of FACTS) write(value, text(last, changes));
    renderTables(last, changes, first);
    plots.forEach((plot) => plot.render());
  });
}
addEventListener("resize", schedule);

// The stream is read with fetch, because an EventSource cannot send the key.

const backoff = new Backoff({ baseMs: 1_000 });
let connection = null;
let retryTimer;
const countdown = new Countdown();

function show(state, words) {
  $("connection").className = state;
  write($("state"), words);
  countdown.stop();
  write($("countdown"), "");
}

class Refused extends Error {
  constructor(status, message, afterMs) {
    super(message);
    this.status = status;
    this.afterMs = afterMs;
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const after = Number(response.headers.get("retry-after"));
  const message = body?.error?.message ?? `the server answers ${response.status}`;
  return new Refused(response.status, message, after > 0 ? after * 1_000 : undefined);
}

/** Moves a key from the address to the tab's storage, so that no history has it; returns whether there was one. */
function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key === null) return false;
  sessionStorage.setItem(KEY, key);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

/** Reads the stream until it ends; calls `onData` whenever something has arrived. */
async function read(signal, onData) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch("api/stats/stream", { headers, signal, cache: "no-store", credentials: "omit" });
  if (!response.ok) throw await refusal(response);
  const events = sseReader(({ data }) => take(JSON.parse(data)));
  const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await pieces.read();
    if (done) return;
    onData();
    events.feed(value);
  }
}

/**
 * Connects, and reconnects when the connection ends.
 * @param {string} words Shown as the state meanwhile. A retry passes the words shown already, so that screen readers
 *   read them out only once.
 */
async function connect(words = "Connecting…") {
  clearTimeout(retryTimer);
  const current = new AbortController();
  connection = current;
  show("connecting", words);
  let openedAt = null;
  let watch;
  const onData = () => {
    clearTimeout(watch);
    watch = setTimeout(() => current.abort(), SILENCE_MS);
    if (openedAt !== null) return;
    openedAt = performance.now();
    if ($("unlock").contains(document.activeElement)) $("pause").focus(); // a hidden element loses it
    $("unlock").hidden = true;
    show("online", "Live");
  };
  watch = setTimeout(() => current.abort(), SILENCE_MS);
  let error = null;
  try {
    await read(current.signal, onData);
  } catch (problem) {
    error = problem;
  }
  clearTimeout(watch);
  current.abort();
  if (connection !== current) return;
  connection = null;
  if (error instanceof Refused && error.status === 401) return askForKey();
  const healthyForMs = openedAt === null ? 0 : performance.now() - openedAt;
  const delayMs = backoff.next({ healthyForMs, afterMs: error instanceof Refused ? error.afterMs : undefined });
  wait(delayMs, error instanceof Refused ? `Refused, ${error.message}; trying again` : "Not connected, reconnecting");
}

function disconnect() {
  const ended = connection;
  connection = null;
  ended?.abort();
}

function wait(delayMs, words) {
  show("waiting", words);
  countdown.start(delayMs, (left) => write($("countdown"), left));
  retryTimer = setTimeout(connect, delayMs, words);
}

function askForKey() {
  const wasWrong = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  show("stopped", "A key is needed");
  $("unlock").hidden = false;
  $("numbers").hidden = true;
  const refusedKey = "The server does not accept this key. A key that the server makes itself changes with each start.";
  write($("key-error"), wasWrong ? refusedKey : "");
  $("key").focus();
}

$("unlock-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  write($("key-error"), "");
  connect();
});

$("pause").addEventListener("click", () => {
  const isPaused = $("pause").getAttribute("aria-pressed") === "true";
  $("pause").setAttribute("aria-pressed", String(!isPaused));
  if (isPaused) {
    connect();
    return;
  }
  clearTimeout(retryTimer);
  disconnect();
  show("paused", "Paused");
});

// A new key in the address of an open page does not reload the page.
addEventListener("hashchange", () => {
  if (!takeKey() || $("pause").getAttribute("aria-pressed") === "true") return;
  disconnect();
  connect();
});

takeKey();
connect();
