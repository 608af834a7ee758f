/** The dashboard: reads the server's one stream and shows it. Texts become text nodes, never HTML. */
import { Backoff } from "./client.js";
import { make } from "./messages.js";
import { Series, bytes, ceiling, compare, count, micros, span, sseReader } from "./stats.js";

const POINTS = 300; // one a second: five minutes
const SILENCE_MS = 10_000; // the server speaks every second
const KEY = "throng.key"; // in the tab's own storage, gone when it is closed
const LEAST_US = 10; // where the scale of latencies begins
const MAX_LINES = 8; // of a plot's grid

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const draw = (tag, attributes = {}) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
/** Changes a text only where it is another: the rest of the page is left alone. */
const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };

// What is plotted: each curve a name and how it is taken out of a snapshot and of what is new since the last.

const rate = (name) => (_, news) => news?.rates[name];
const dropped = (reason) => (_, news) => news && news.drops[reason] / news.seconds;
const latency = (index) => (_, news) => news?.latency[index];
const perSecond = (value) => `${count(value)}/s`;

const PLOTS = [
  { title: "Connections", format: count, curves: [["connections", (now) => now.connections], ["rooms", (now) => now.rooms]] },
  { title: "Messages per second", format: perSecond, curves: [["received", rate("messages")]] },
  { title: "Deliveries per second", format: perSecond, curves: [["delivered", rate("deliveries")], ["writes", rate("writes")]] },
  {
    title: "Fan-out latency", format: micros, least: LEAST_US, isLogarithmic: true,
    curves: [["p50", latency(0)], ["p90", latency(1)], ["p99", latency(2)]],
  },
  { title: "Queued for clients", format: bytes, least: 1024, base: 1024, curves: [["in queues", (now) => now.queue_bytes]] },
  { title: "Sent", format: (value) => `${bytes(value)}/s`, least: 1024, base: 1024, curves: [["bytes", rate("bytes_sent")]] },
  {
    title: "Drops per second", format: perSecond,
    curves: ["slow consumers", "messages left out", "rate limited", "refused"].map((reason) => [reason, dropped(reason)]),
  },
  { title: "CPU", format: (value) => `${count(value)} cores`, least: 0.1, curves: [["in use", (_, news) => news?.cpu]] },
  { title: "Memory", format: bytes, least: 1 << 20, base: 1024, curves: [["resident", (now) => now.resident_bytes]] },
];

class Plot {
  #options; #curves; #svg; #lines; #scale;

  constructor(options, index) {
    this.#options = options;
    const { title, curves } = options;
    this.#svg = draw("svg", { role: "img", "aria-label": `${title} over the last five minutes; numbers in the table below` });
    const lines = Array.from({ length: MAX_LINES });
    this.#lines = lines.map(() => draw("line", { class: "grid" }));
    this.#scale = lines.map(() => draw("text", { class: "scale", x: 2 }));
    this.#curves = curves.map(([name, take], place) => ({
      name, take, series: new Series(POINTS), path: draw("path", { class: `curve c${place + 1}` }),
      now: make("td", { className: "number" }), most: make("td", { className: "number" }),
    }));
    this.#svg.append(...this.#lines, ...this.#curves.map(({ path }) => path), ...this.#scale);
    const head = (text) => make("th", { scope: "col", className: "number" }, text);
    const rows = this.#curves.map(({ name, now, most }, place) => {
      const key = make("span", { className: `key c${place + 1}` });
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

  take(now, news) {
    for (const { series, take } of this.#curves) series.push(now && take(now, news));
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
      // What stands at the bottom needs no words.
      write(this.#scale[index], index > 0 && tick !== undefined ? format(tick) : "");
      this.#scale[index].setAttribute("y", at - 3);
    });
    for (const { series, path, now, most } of this.#curves) {
      const { values } = series;
      let d = "";
      let isDown = false;
      values.forEach((value, index) => {
        if (value !== null) d += `${isDown ? "L" : "M"}${((width * (POINTS - values.length + index + 1)) / POINTS).toFixed(1)} ${y(value)}`;
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
  ["Messages", (_, news) => perSecond(news?.rates.messages)],
  ["Deliveries", (_, news) => perSecond(news?.rates.deliveries)],
  ["Queued", (now) => bytes(now.queue_bytes)],
  ["Behind", (now) => count(now.shards.reduce((sum, { behind }) => sum + (behind ?? 0), 0))],
  ["Resumes recovered", (now) => `${count(now.recovered)} of ${count(now.recovered + now.not_recovered)}`],
  ["Memory", (now) => bytes(now.resident_bytes)],
  ["CPU", (_, news) => (news ? `${count(news.cpu)} cores` : "–")],
  ["Up", (now) => span(now.uptime_ms)],
  ["Node", (now) => now.node],
  ["Version", (now) => now.version],
  ["Looking at this", (now) => count(now.viewers)],
].map(([name, text]) => {
  const value = make("dd", {}, "–");
  return { text, value, row: make("div", {}, make("dt", {}, name), value) };
});
$("facts").append(...FACTS.map(({ row }) => row));
$("plots").append(...plots.map(({ figure }) => figure));

/** Gives a table's body these rows: the first cell of each is its head, what is no text is an element. */
function fill(body, rows, numbers) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    if (!body.rows[index]) {
      body.append(make("tr", {}, ...cells.map((_, place) => {
        const cell = make(place === 0 ? "th" : "td", { className: place >= numbers ? "number" : "" });
        if (place === 0) cell.scope = "row";
        return cell;
      })));
    }
    cells.forEach((text, place) => write(body.rows[index].cells[place], text));
  });
}

const CODES = {
  1000: "was silent", 1001: "going away", 1002: "protocol error", 1003: "binary refused",
  1007: "invalid data", 1008: "not allowed in", 1009: "message too big", 1011: "our mistake",
  1012: "restart", 1013: "overloaded", 3000: "token expired or early", 3003: "forbidden", 3008: "no sign of life",
  4001: "slow consumer", 4002: "too fast", 4003: "position lost", 4501: "replaced", 4502: "malformed input",
};
// What a client means by its codes is its own affair, but for these.
const CLIENT_CODES = { 1000: "normal", 1001: "went away", 1005: "no code given", 1006: "vanished" };

function renderTables(now, news, first) {
  const slowest = now.slowest.map(({ user, connection, shard, bytes: queued, messages, age_ms }) => {
    return [user ?? "(no user)", connection, String(shard), bytes(queued), count(messages), span(age_ms)];
  });
  $("slowest-none").hidden = slowest.length > 0;
  $("slowest-frame").hidden = slowest.length === 0;
  fill($("slowest"), slowest, 2);

  const connections = Math.max(1, now.connections);
  fill($("shards"), now.shards.map((shard, index) => [
    String(index), count(shard.connections), `${Math.round((100 * shard.connections) / connections)} %`,
    count(news?.shardRates[index]), bytes(shard.queue_bytes), bytes(shard.inbox_bytes),
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
    ...drops, ...refused.map(([reason, value]) => row(`refused: ${reason.replaceAll("_", " ")}`, value, first.refused[reason])),
  ], 1);
  const closes = Object.entries(now.closes).flatMap(([by, codes]) => Object.entries(codes)
    .filter(([, value]) => value > 0)
    .map(([code, value]) => [code, by, by === "server" ? CODES[code] ?? "" : CLIENT_CODES[code] ?? "its own", count(value)]));
  fill($("closes"), closes.length ? closes : [["–", "–", "nobody has left yet", "0"]], 3);
}

/** Draws a share behind the number in a cell, which says the same. */
function showShare(cell, share) {
  let bar = cell.querySelector("svg");
  if (!bar) {
    bar = draw("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(draw("rect", { height: 10 }));
    cell.append(bar);
  }
  bar.firstChild.setAttribute("width", Math.round(100 * share));
}

// What has come

let last = null;
let first = null;
let news = null;
let lastAt = 0;
let isDue = false;

function take(snapshot) {
  const at = performance.now();
  news = last && compare(last, snapshot);
  // The same server and the same moment: nothing is new.
  if (last && !news && last.started_ms === snapshot.started_ms && last.uptime_ms === snapshot.uptime_ms) return;
  // By the server's clock, so that what comes late in a bunch is no gap; by ours if there is another server.
  const seconds = news ? news.seconds : (at - lastAt) / 1_000;
  const missed = last ? Math.min(POINTS, Math.round(seconds) - 1) : 0;
  for (let second = 0; second < missed; second += 1) plots.forEach((plot) => plot.take(null, null));
  if (!first || first.started_ms !== snapshot.started_ms) first = snapshot;
  last = snapshot;
  lastAt = at;
  plots.forEach((plot) => plot.take(snapshot, news));
  schedule();
}

/** Draws with the next frame: a page that is not seen has none, and is drawn when it is. */
function schedule() {
  if (isDue || !last) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    $("numbers").hidden = false;
    for (const { text, value } of FACTS) write(value, text(last, news));
    renderTables(last, news, first);
    plots.forEach((plot) => plot.render());
  });
}
addEventListener("resize", schedule);

// The stream. Not an EventSource: that can send no key.

const backoff = new Backoff({ baseMs: 1_000 });
let connection = null;
let retryTimer;
let countdownTimer;

function show(state, words) {
  $("connection").className = state;
  write($("state"), words);
  clearInterval(countdownTimer);
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

/** Takes a key out of the address, where it would stand in the history and in what is copied; true if there was one. */
function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key === null) return false;
  sessionStorage.setItem(KEY, key);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

/** Reads the stream until it ends. */
async function read(signal, heard) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch("api/stats/stream", { headers, signal, cache: "no-store", credentials: "omit" });
  if (!response.ok) throw await refusal(response);
  const events = sseReader(({ data }) => take(JSON.parse(data)));
  const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await pieces.read();
    if (done) return;
    heard();
    events.feed(value);
  }
}

/** @param {string} words What the state says meanwhile: while it is tried again the same, to be told but once. */
async function connect(words = "Connecting…") {
  clearTimeout(retryTimer);
  const current = new AbortController();
  connection = current;
  show("connecting", words);
  let openedAt = null;
  let watch;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => current.abort(), SILENCE_MS);
    if (openedAt !== null) return;
    openedAt = performance.now();
    if ($("unlock").contains(document.activeElement)) $("pause").focus(); // what is hidden loses it
    $("unlock").hidden = true;
    show("online", "Live");
  };
  watch = setTimeout(() => current.abort(), SILENCE_MS);
  let error = null;
  try {
    await read(current.signal, heard);
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
  const endsAt = performance.now() + delayMs;
  const tick = () => write($("countdown"), `in ${Math.max(0, Math.ceil((endsAt - performance.now()) / 1_000))} s`);
  countdownTimer = setInterval(tick, 1_000);
  tick();
  retryTimer = setTimeout(connect, delayMs, words);
}

function askForKey() {
  const wasWrong = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  show("stopped", "A key is needed");
  $("unlock").hidden = false;
  $("numbers").hidden = true;
  write($("key-error"), wasWrong ? "The server does not take this key. One that it makes itself is another after each start." : "");
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

// Another key in the address of a page that is open already loads nothing anew.
addEventListener("hashchange", () => {
  if (!takeKey() || $("pause").getAttribute("aria-pressed") === "true") return;
  disconnect();
  connect();
});

takeKey();
connect();
