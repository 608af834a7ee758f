/**
 * The dashboard: reads the server's stream of snapshots and shows them. Texts become text nodes, never HTML.
 *
 * Without an engine the page is about the node that sends the stream. With one it is about all nodes, or with
 * `?node=NAME` in its address about one of them.
 */
import { Backoff } from "./client.js";
import { Control } from "./control.js";
import { Countdown } from "./countdown.js";
import { make } from "./dom.js";
import { Nodes, choose, dashboardOf, stateOf } from "./nodes.js";
import { POINTS, Plot, draw, write } from "./plot.js";
import { bytes, compare, count, micros, span, sseReader } from "./stats.js";

const SILENCE_MS = 10_000; // reconnect after this time without data; the server sends a snapshot every second
const KEY = "throng.key"; // name in the storage of the tab, which ends with the tab
const LEAST_US = 10; // lower end of the scale of latencies

const $ = (id) => document.getElementById(id);

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
    title: "Fan-out latency", format: micros, least: LEAST_US, isLogarithmic: true, isOwnAlone: true,
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

const plots = PLOTS.map((options, index) => new Plot(options, index));

// Numbers and tables

const cores = (changes) => (changes ? `${count(changes.cpu)} cores` : "–");
const shareOf = (part, whole) => `${count(part)} of ${count(whole)}`;
const LOAD = [
  ["Connections", ({ now }) => shareOf(now.connections, now.max_connections)],
  ["Rooms", ({ now }) => count(now.rooms)],
  ["Messages", ({ changes }) => perSecond(changes?.rates.messages)],
  ["Deliveries", ({ changes }) => perSecond(changes?.rates.deliveries)],
  ["Queued", ({ now }) => bytes(now.queue_bytes)],
];
const PROCESS = [["Memory", ({ now }) => bytes(now.resident_bytes)], ["CPU", ({ changes }) => cores(changes)]];
const RESUMES = ["Resumes recovered", ({ now }) => shareOf(now.recovered, now.recovered + now.not_recovered)];
const UPTIME = ["Uptime", ({ now }) => span(now.uptime_ms)];

/** The facts of each view: names, and functions from a view to a text. */
const FACTS = {
  own: [
    ...LOAD,
    ["Behind", ({ now }) => count(now.shards.reduce((sum, { behind }) => sum + (behind ?? 0), 0))],
    RESUMES, ...PROCESS, UPTIME,
    ["Node", ({ now }) => now.node],
    ["Version", ({ now }) => now.version],
    ["Dashboard viewers", ({ now }) => count(now.viewers)],
  ],
  all: [
    ...LOAD, ...PROCESS,
    ["Live nodes", () => shareOf(nodes.all.filter(({ is_live }) => is_live).length, nodes.all.length)],
    ["Shown by", () => last.node],
    ["Dashboard viewers", () => count(last.viewers)],
  ],
  other: [
    ...LOAD, RESUMES, ...PROCESS, UPTIME,
    ["Node", ({ node }) => node.name],
    ["Version", ({ node }) => node.version],
    ["Address", ({ node }) => node.addresses],
    ["State", ({ node }) => stateOf(node)],
    ["Last beat", ({ node }) => `${span(node.age_ms)} ago`],
  ],
};
$("plots").append(...plots.map(({ figure }) => figure));

/** The kind of view that the page is laid out for, and its facts with the elements that show them. */
let layout = null;
let facts = [];

/** Lays the page out for a kind of view: shows the sections that it has, and makes its list of facts. */
function layOut(kind) {
  if (layout === kind) return;
  layout = kind;
  for (const section of document.querySelectorAll("[data-views]")) {
    section.hidden = !section.dataset.views.split(" ").includes(kind);
  }
  plots.forEach(({ figure, isOwnAlone }) => { figure.hidden = isOwnAlone && kind !== "own"; });
  facts = (FACTS[kind] ?? []).map(([name, text]) => {
    const value = make("dd", {}, "–");
    return { text, value, row: make("div", {}, make("dt", {}, name), value) };
  });
  $("facts").replaceChildren(...facts.map(({ row }) => row));
}

/**
 * Sets the rows of a table's body. The first cell of a row is its header. The columns from `numbers` on hold numbers, up
 * to the column `texts`.
 */
function fill(body, rows, numbers, texts = Infinity) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    if (!body.rows[index]) {
      body.append(make("tr", {}, ...cells.map((_, column) => {
        const className = column >= numbers && column < texts ? "number" : "";
        const cell = make(column === 0 ? "th" : "td", { className });
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

const linkTo = (name) => make("a", { href: `?${new URLSearchParams({ node: name })}` }, name);

/** Shows the rows of all nodes; a node's name is a link to the page about it. */
function renderNodes() {
  fill($("nodes"), nodes.all.map((node) => {
    const { now, changes } = node;
    return [
      node.is_this ? `${node.name} (this node)` : node.name, stateOf(node),
      count(now.connections), count(now.rooms), count(changes?.rates.messages), count(changes?.rates.deliveries),
      cores(changes), bytes(now.resident_bytes),
      count(now.slow_consumers_dropped), count(now.messages_dropped), count(now.refused),
      span(now.uptime_ms), `${span(node.age_ms)} ago`, node.version, node.addresses,
    ];
  }), 2, 13);
  nodes.all.forEach(({ name, is_this }, index) => {
    const cell = $("nodes").rows[index].cells[0];
    if (!cell.querySelector("a")) cell.replaceChildren(linkTo(name), is_this ? " (this node)" : "");
  });
}

/** Shows where the page is, and the way to other nodes. */
function renderWay({ kind, node }) {
  $("way").hidden = !last.nodes || (kind !== "own" && kind !== "other");
  write($("subject"), kind === "own" ? `Node ${last.node}` : `Node ${node?.name}, seen from node ${last.node}`);
  const href = kind === "other" ? dashboardOf(node, location.hostname) : null;
  $("elsewhere").hidden = href === null;
  if (href !== null) $("elsewhere").href = href;
  const known = last.nodes?.map(({ name }) => name) ?? [last.node];
  const problem = kind === "unknown" ? `No node is called ${WANTED}. These nodes are known: ${known.join(", ")}` : "";
  if ($("unknown").textContent === problem) return;
  const links = known.flatMap((name, index) => [index ? ", " : "", linkTo(name)]);
  $("unknown").replaceChildren(...(problem ? [problem.slice(0, -known.join(", ").length), ...links] : []));
}

function renderDrops(now, first) {
  const row = (words, value, before) => [words, count(value), count(Math.max(0, value - before))];
  const drops = [
    ["slow consumers, 4001", "slow_consumers_dropped"], ["messages left out of queues", "messages_dropped"],
    ["rate limited", "rate_limited"], ["resumes not recovered", "not_recovered"],
  ].map(([words, name]) => row(words, now[name], first[name]));
  // Beats have the sum of all reasons alone.
  const refused = typeof now.refused === "object" ? Object.entries(now.refused).filter(([, value]) => value > 0) : [];
  fill($("drops"), [
    ...drops,
    ...refused.map(([reason, value]) => row(`refused: ${reason.replaceAll("_", " ")}`, value, first.refused[reason])),
    ...(typeof now.refused === "number" ? [row("refused", now.refused, first.refused)] : []),
  ], 1);
}

/** Shows the tables that only the node itself can fill. */
function renderOwn({ now, changes }) {
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

/** The name of the node that the page is about; null for all nodes. */
const WANTED = new URLSearchParams(location.search).get("node") || null;
const nodes = new Nodes();
let view = null;
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
  nodes.take(snapshot.nodes ?? []);
  view = look();
  plots.forEach((plot) => plot.take(view.now, view.changes));
  schedule();
}

/** Returns the numbers that the page shows: of the node that sends the feed, of another one, of all, or of none. */
function look() {
  const kind = choose(last, WANTED);
  if (kind === "own") return { kind, now: last, changes, first };
  if (kind === "all") return { kind, ...nodes.sums() };
  const node = nodes.all.find(({ name }) => name === WANTED);
  return node ? { kind, node, ...node } : { kind, now: null, changes: null };
}

/** Draws with the next frame. A hidden page has no frames and is drawn when it is shown again. */
function schedule() {
  if (isDue || !last) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    layOut(view.kind);
    renderWay(view);
    $("numbers").hidden = view.kind === "unknown";
    if (view.kind === "unknown") return;
    for (const { text, value } of facts) write(value, text(view));
    if (view.kind === "own") renderOwn(view);
    if (view.kind === "all") renderNodes();
    if (view.first) renderDrops(view.now, view.first);
    plots.forEach((plot) => plot.render());
  });
}
addEventListener("resize", schedule);

// The stream is read with fetch, because an EventSource cannot send the key.

const backoff = new Backoff({ baseMs: 1_000 });
let connection = null;
let retryTimer;
const countdown = new Countdown();
const control = new Control(() => sessionStorage.getItem(KEY));

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
    control.toggle(true);
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
  $("way").hidden = true;
  control.toggle(false);
  $("unknown").replaceChildren();
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
