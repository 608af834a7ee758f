/**
 * The states of the dashboard's figures, without a page: one table of thresholds, and what an operator does beyond
 * them. The sentences are those of docs/watching.md in short.
 */
import { bytes, count, micros, span } from "./stats.js";

const WINDOW_S = 60; // counters are judged by how much they have grown in this time
const SILENCE_MS = 10_000; // silence after which a node counts as gone
const FEW = 100; // a share of fewer clients or messages than these says little
const KIB = 1024;

/** Codes of refusals that are failed handshakes, and those with a figure of their own or without a meaning here. */
const HANDSHAKES = ["malformed", "timeout", "made_way", "tls"];
const OTHERS = [...HANDSHAKES, "at_capacity", "no_engine", "draining"];

const percent = (share) => `${Math.round(100 * share)} %`;
const inAMinute = (value) => `${count(value)}/min`;
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const most = (values) => Math.max(0, ...values);

/**
 * The figures that have a state. `of` returns the value that is compared with `watch` and `act`, or no finite number if
 * it is not known; `text` returns what is shown; `todo` says what to do from `watch` on.
 */
export const FIGURES = [
  {
    name: "Connections of the limit", views: "own all other", watch: 0.8, act: 0.95, text: percent,
    of: ({ now }) => now.connections / now.max_connections,
    todo: "Add a node, or raise the descriptors and limits.max_connections, before clients get 503.",
  },
  {
    name: "Refused as full", views: "own", watch: 1, act: 1, text: inAMinute,
    of: (_, recent) => recent.refused((code) => code === "at_capacity"),
    todo: "Add a node, or raise limits.max_connections; if connections are below it, raise limits.max_handshakes.",
  },
  {
    name: "Failed handshakes", views: "own", watch: 10, act: 60, text: inAMinute,
    of: (_, recent) => recent.refused((code) => HANDSHAKES.includes(code)),
    todo: "See below which reason grows: sockets that say nothing, or clients that do not trust the certificate.",
  },
  {
    name: "Other refusals", views: "own", watch: 10, act: 60, text: inAMinute,
    of: (_, recent) => recent.refused((code) => !OTHERS.includes(code)),
    todo: "Look at the client with the reason below; a proxy may be missing in admission.trusted_proxies.",
  },
  {
    name: "Refusals", views: "all other", watch: 10, act: 60, text: inAMinute,
    of: (_, recent) => recent.lost("refused"),
    todo: "Open the dashboard of the node that refuses, which has the reasons.",
  },
  {
    name: "Refused without engine", views: "own", watch: 1, act: 1, text: inAMinute,
    of: (_, recent) => recent.refused((code) => code === "no_engine"),
    todo: "Start the server of the engine again, or mend the network; throng doctor checks it.",
  },
  {
    name: "Nodes without a beat", views: "all", watch: 1, act: 1, text: count,
    of: ({ all }) => all.filter(({ is_live, age_ms }) => !is_live || age_ms > SILENCE_MS).length,
    todo: "Look whether the process of that node runs and reaches the engine; its log says more.",
  },
  {
    name: "Queued per connection", views: "own all other", watch: 32 * KIB, act: 256 * KIB, text: bytes,
    of: ({ now }) => now.queue_bytes / Math.max(1, now.connections),
    todo: "See below who is slow, and lower queue.max_bytes so that slow clients go sooner.",
  },
  {
    name: "Oldest queued message", views: "own", watch: 3_000, act: 8_000, text: span,
    of: ({ now }) => most(now.slowest.map(({ age_ms }) => age_ms)),
    todo: "See below who is slow: a network or proxy is, or a room speaks faster than people can read.",
  },
  {
    name: "Largest inbox", views: "own", watch: 2 * KIB * KIB, act: 6 * KIB * KIB, text: bytes,
    of: ({ now }) => most(now.shards.map(({ inbox_bytes }) => inbox_bytes)),
    todo: "Look at the CPU, then at very large rooms: beyond fanout.max_inbox_bytes messages are refused.",
  },
  {
    name: "Workers without an answer", views: "own", watch: 1, act: 10, text: inAMinute,
    of: (_, recent) => recent.silent,
    todo: "Look at the CPU and at other programs on the machine; if one worker stays silent, report its log.",
  },
  {
    name: "Slow consumers ended", views: "own all other", watch: 0.01, act: 0.1,
    of: ({ now }, recent) => recent.lost("slow consumers") / Math.max(FEW, now.connections),
    text: (_, recent) => inAMinute(recent.lost("slow consumers")),
    todo: "If many end at once, a network or proxy is slow: mend it, raise queue.max_bytes or use a drop_* policy.",
  },
  {
    name: "Messages left out", views: "own all other", watch: 1e-9, act: 0.01,
    of: (_, recent) => recent.lost("messages left out") / Math.max(FEW, recent.counted("deliveries")),
    text: (_, recent) => inAMinute(recent.lost("messages left out")),
    todo: "Clients see gaps: raise queue.max_messages and queue.max_bytes, or say less in the busiest rooms.",
  },
  {
    name: "Rate limited", views: "own all other", watch: 0.01, act: 0.2,
    of: (_, recent) => recent.lost("rate limited") / Math.max(FEW, recent.counted("messages")),
    text: (_, recent) => inAMinute(recent.lost("rate limited")),
    todo: "Find the client in a loop in the log at debug, or raise rate_limit.* if the use is real.",
  },
  {
    name: "Resumes that lack messages", views: "own other", watch: 0.2, act: 0.5, text: percent,
    of: (_, recent) => recent.unrecovered,
    todo: "Raise history.messages, history.bytes or history.ttl; after a restart without history.dir it is ordinary.",
  },
  {
    name: "Fan-out latency, p99", views: "own", watch: 100_000, act: 250_000, text: micros,
    of: (_, recent) => recent.latency,
    todo: "Look at the CPU first, then at very large rooms, then at other programs on the machine.",
  },
  {
    name: "CPU of the workers", views: "own", watch: 0.8, act: 0.95, text: percent,
    of: ({ now }, recent) => recent.cpu / now.shards.length,
    todo: "Add cores or nodes; if deliveries have not grown, look at refusals and at what is rate limited.",
  },
  {
    name: "Ended by a bug", views: "own", watch: 1, act: 1, text: inAMinute,
    of: (_, recent) => recent.bugs,
    todo: "Look for lines of the level WARN or ERROR in the log, and report them with the version.",
  },
];

/** The events of the last minute, as far as the page has seen them. */
export class Recent {
  /** Snapshots, oldest first. The changes of the first one were before the window. */
  #entries = [];
  #kind;

  /** Takes a view: its kind, the numbers of now, and the changes since the ones before, null after a restart. */
  take({ kind, now, changes }) {
    if (kind !== this.#kind || !changes) this.#entries = [];
    this.#kind = kind;
    if (!now) return;
    // A beat comes with several snapshots, and counts once.
    if (changes && this.#entries.at(-1)?.changes === changes) return;
    this.#entries.push({ now, changes });
    while (this.#entries.length > 2 && this.seconds > WINDOW_S) this.#entries.shift();
  }

  get #changes() { return this.#entries.slice(1).map(({ changes }) => changes); }

  #sum(take) { return this.#changes.reduce((sum, changes) => sum + take(changes), 0); }

  get seconds() { return this.#sum(({ seconds }) => seconds); }

  /** Returns the growth of a counter, which `take` finds in the numbers of a moment. */
  #growth(take) {
    const [first, last] = [this.#entries.at(0), this.#entries.at(-1)];
    return first && Math.max(0, take(last.now) - take(first.now));
  }

  /** Returns how many messages or connections were lost in the way with these words. */
  lost(words) { return this.#sum(({ drops }) => drops[words]); }

  /** Returns how much a counter has grown that is shown as a rate. */
  counted(name) { return this.#sum(({ rates, seconds }) => rates[name] * seconds); }

  /** Returns how many requests were refused with the codes that `isMeant` is true for. */
  refused(isMeant) {
    const sum = ({ refused }) => Object.entries(refused)
      .reduce((all, [code, value]) => all + (isMeant(code) ? value : 0), 0);
    return this.#growth(sum);
  }

  get bugs() { return this.#growth(({ closes }) => closes.server?.[1011] ?? 0); }

  /** The share of resumes that lacked messages; 0 while they are too few to tell. */
  get unrecovered() {
    const lacking = this.#growth(({ not_recovered }) => not_recovered);
    const all = lacking + this.#growth(({ recovered }) => recovered);
    return all < 6 ? 0 : lacking / all;
  }

  /** The number of snapshots in which a worker did not answer. */
  get silent() {
    return this.#entries.slice(1).filter(({ now }) => now.shards.some(({ behind }) => behind === null)).length;
  }

  get latency() {
    const known = this.#changes.map(({ latency }) => latency[2]).filter(Number.isFinite);
    return known.length ? average(known) : undefined;
  }

  get cpu() { return this.#sum(({ cpu, seconds }) => cpu * seconds) / this.seconds; }
}

/** Returns the state of a value: `fine`, `watch` or `act`; `no data` if the value is not known. */
export function stateAt(value, { watch, act }) {
  if (!Number.isFinite(value)) return "no data";
  return value >= act ? "act" : value >= watch ? "watch" : "fine";
}

/**
 * Judges the figures of a view.
 * @param {Recent} recent The events of this view in the last minute.
 * @returns {{ name: string, text: string, state: string, todo: string }[]} `todo` is empty when there is nothing to do.
 */
export function judge(view, recent) {
  return FIGURES.filter(({ views }) => views.split(" ").includes(view.kind)).map((figure) => {
    const value = figure.of(view, recent);
    const state = stateAt(value, figure);
    const isBad = state === "watch" || state === "act";
    const text = state === "no data" ? "–" : figure.text(value, recent);
    return { name: figure.name, text, state, todo: isBad ? figure.todo : "" };
  });
}

/** Returns one line about all figures: those to act on first. */
export function overall(judged) {
  const named = (state) => judged.filter((one) => one.state === state).map(({ name }) => name).join(", ");
  const [act, watch] = [named("act"), named("watch")];
  if (!act && !watch) return "Everything is fine.";
  return [act && `Act on: ${act}.`, watch && `Watch: ${watch}.`].filter(Boolean).join(" ");
}
