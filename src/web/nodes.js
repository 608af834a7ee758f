/** The nodes of a cluster, without a page: rates from their beats, sums over all nodes, links to their dashboards. */
import { DROPS, RATES, span } from "./stats.js";

/** Silence of a node after which its numbers say nothing about the present, in milliseconds. Then it counts as dead. */
const SILENCE_MS = 10_000;

/** Numbers of the moment that can be added up. A room with members on two nodes counts on both. */
const GAUGES = ["connections", "max_connections", "rooms", "queue_bytes", "resident_bytes"];

/** Counters of lost messages and connections in a beat, with the words for each. */
const LOSSES = { ...DROPS, refused: "refused" };

const finite = (value) => (Number.isFinite(value) ? value : undefined);

/** Returns the sum of the values that are known; `undefined` when none is. */
function sum(values) {
  const known = values.filter((value) => value !== undefined);
  return known.length ? known.reduce((all, value) => all + value, 0) : undefined;
}

/** Returns the fields that are numbers. A node of another version may send other fields, or of another kind. */
function numbersOf(counters) {
  return Object.fromEntries(Object.entries(counters ?? {}).filter(([, value]) => finite(value) !== undefined));
}

/**
 * Computes what has changed between two beats of a node, in the form of `compare` in stats.js. Fields that one of the
 * two lacks are `undefined`. Returns null if the beats cannot be compared.
 */
function between(before, now) {
  const seconds = (now.uptime_ms - before.uptime_ms) / 1000;
  if (before.started_ms !== now.started_ms || !(seconds > 0)) return null;
  const grown = (name) => finite(Math.max(0, now[name] - before[name]));
  const perSecond = (name) => finite(grown(name) / seconds);
  const rates = Object.fromEntries(RATES.map((name) => [name, perSecond(name)]));
  const drops = Object.fromEntries(Object.entries(LOSSES).map(([name, words]) => [words, grown(name)]));
  return { seconds, rates, drops, cpu: finite(perSecond("cpu_us") / 1e6), latency: [] };
}

/** The nodes of the feed, and the last two beats of each. */
export class Nodes {
  #beats = new Map();

  /**
   * The nodes, as the feed sends them, with the numbers of the last beat as `now`, those of the first beat that this
   * page has seen as `first`, and the changes between the last two beats as `changes`, null while they are not known.
   * @type {{ name: string, now: Record<string, number>, first: Record<string, number>, changes: object | null }[]}
   */
  all = [];

  /** Takes the nodes of a snapshot. Nodes that are not among them are forgotten. */
  take(rows) {
    const beats = new Map();
    this.all = rows.map((row) => {
      const now = numbersOf(row.counters);
      let beat = this.#beats.get(row.name);
      if (beat?.now.started_ms !== now.started_ms) beat = undefined;
      if (beat?.now.uptime_ms !== now.uptime_ms || !beat) {
        beat = { now, first: beat?.first ?? now, changes: beat ? between(beat.now, now) : null };
      }
      beats.set(row.name, beat);
      const isSilent = !row.is_live || row.age_ms > SILENCE_MS;
      return { ...row, ...beat, changes: isSilent ? null : beat.changes };
    });
    this.#beats = beats;
  }

  /** Returns the sums over all live nodes, in the form of one node. `changes` are those of one second. */
  sums() {
    const live = this.all.filter((node) => node.is_live);
    const moving = live.map(({ changes }) => changes).filter((changes) => changes !== null);
    const over = (names, list, take) => {
      return Object.fromEntries(names.map((name) => [name, sum(list.map((one) => take(one, name)))]));
    };
    const now = over(GAUGES, live, (node, name) => node.now[name]);
    if (!moving.length) return { now, changes: null };
    const rates = over(RATES, moving, (changes, name) => changes.rates[name]);
    const drops = over(Object.values(LOSSES), moving, ({ drops, seconds }, words) => finite(drops[words] / seconds));
    return { now, changes: { seconds: 1, rates, drops, cpu: sum(moving.map(({ cpu }) => cpu)), latency: [] } };
  }
}

/**
 * Decides what the page shows: `own` for all about the node that sends the feed, `all` for the sums and the table of
 * nodes, `other` for the beats of another node, and `unknown` when there is no node of the wanted name.
 * @param {string | null} wanted The name in the page's address.
 */
export function choose(snapshot, wanted) {
  if (wanted === null) return snapshot.nodes ? "all" : "own";
  if (wanted === snapshot.node) return "own";
  return snapshot.nodes?.some(({ name }) => name === wanted) ? "other" : "unknown";
}

/** Returns the state of a node in words. */
export function stateOf({ is_live, age_ms, counters }) {
  if (!is_live) return "dead";
  if (age_ms > SILENCE_MS) return `silent for ${span(age_ms)}`;
  return typeof counters?.state === "string" ? counters.state : "–";
}

/** Returns the URL of the dashboard at an IP address and port; null if the text is no such address. */
function urlOf(address) {
  if (!/^(\d+(\.\d+){3}|\[[\da-f:.]+\]):[1-9]\d*$/i.test(address)) return null;
  try {
    return new URL(`http://${address}/dashboard`);
  } catch {
    return null;
  }
}

/**
 * Returns the address of a node's own dashboard, as far as a browser can use it: not one that stands for all addresses
 * of a machine, and one of loopback only for a page that comes from loopback, too. Null if there is none.
 * @param {string} addresses The addresses at which the node listens.
 * @param {string} pageHost The host name in the address of the page.
 */
export function dashboardOf({ name, addresses }, pageHost) {
  const isLoopback = (host) => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host);
  for (const address of String(addresses).split(/[\s,]+/)) {
    const url = urlOf(address);
    if (!url || ["0.0.0.0", "[::]", "[::ffff:0:0]"].includes(url.hostname)) continue;
    if (isLoopback(url.hostname) && !isLoopback(pageHost)) continue;
    url.searchParams.set("node", name);
    return url.href;
  }
  return null;
}
