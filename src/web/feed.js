/**
 * The connection of the dashboard: asks for the key, reads the server's stream of snapshots, connects again when it
 * ends, and shows how it stands. The stream is read with fetch, because an EventSource cannot send the key.
 */
import { Backoff } from "./client.js";
import { Countdown } from "./countdown.js";
import { $ } from "./dom.js";
import { write } from "./plot.js";
import { sseReader } from "./stats.js";

const SILENCE_MS = 10_000; // reconnect after this time without data; the server sends a snapshot every second
const KEY = "throng.key"; // name in the storage of the tab, which ends with the tab

/** Returns the key of this tab; null if it has none. */
export const keyOfTab = () => sessionStorage.getItem(KEY);

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

function show(state, words) {
  $("connection").className = state;
  write($("state"), words);
  countdown.stop();
  write($("countdown"), "");
}

const backoff = new Backoff({ baseMs: 1_000 });
const countdown = new Countdown();
const isPaused = () => $("pause").getAttribute("aria-pressed") === "true";
let connection = null;
let retryTimer;
let calls = null;

/**
 * Starts to read the stream.
 * @param {{ take(snapshot: object): void, takePast(past: object): void, onOpen(): void, onLocked(): void }} handlers
 *   `takePast` is called with the last five minutes, and then `take` with each snapshot, `onOpen` when a stream begins, and `onLocked` when the server wants another key.
 */
export function start(handlers) {
  calls = handlers;
  takeKey();
  connect();
}

/** Reads the stream until it ends; calls `onData` whenever something has arrived. */
async function read(signal, onData) {
  const key = keyOfTab();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch("api/stats/stream", { headers, signal, cache: "no-store", credentials: "omit" });
  if (!response.ok) throw await refusal(response);
  const takers = { history: calls.takePast, message: calls.take };
  const events = sseReader(({ type, data }) => takers[type]?.(JSON.parse(data)));
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
    calls.onOpen();
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
  const wasWrong = keyOfTab() !== null;
  sessionStorage.removeItem(KEY);
  show("stopped", "A key is needed");
  $("unlock").hidden = false;
  calls.onLocked();
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
  const wasPaused = isPaused();
  $("pause").setAttribute("aria-pressed", String(!wasPaused));
  if (wasPaused) {
    connect();
    return;
  }
  clearTimeout(retryTimer);
  disconnect();
  show("paused", "Paused");
});

// A new key in the address of an open page does not reload the page.
addEventListener("hashchange", () => {
  if (!takeKey() || isPaused()) return;
  disconnect();
  connect();
});
