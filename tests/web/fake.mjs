/** A fake server without a network and a clock that the test moves, so that no test has to wait. */
import { webcrypto } from "node:crypto";
import { Backoff, Client } from "../../src/web/client.js";

globalThis.crypto ??= webcrypto; // Node 18 has no global crypto

/** Resolves when everything that promises wait for has happened. */
export const settled = () => new Promise(setImmediate);

export class ManualClock {
  #now = 1_000_000;
  #timers = new Map();
  #last = 0;

  now() { return this.#now; }
  setTimeout(run, ms) {
    this.#timers.set(++this.#last, { at: this.#now + ms, run });
    return this.#last;
  }
  clearTimeout(timer) { this.#timers.delete(timer); }
  get pending() { return this.#timers.size; }

  /** Sets the date back; timers still fire after the same delay. */
  setBack(ms) {
    this.#now -= ms;
    for (const timer of this.#timers.values()) timer.at -= ms;
  }
  advance(ms) {
    const end = this.#now + ms;
    while (this.#runNext(end));
    this.#now = end;
  }
  /** The same for a client that waits for promises: they are settled at their time. */
  async pass(ms) {
    const end = this.#now + ms;
    while (this.#runNext(end)) await settled();
    this.#now = end;
  }
  /** Runs the next timer that is due until `end`. Returns false if there is none. */
  #runNext(end) {
    const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
    if (!due) return false;
    this.#timers.delete(due[0]);
    this.#now = Math.max(this.#now, due[1].at);
    due[1].run();
    return true;
  }
}

/** Returns a client with a fake server; its `random` is always 1, so that each delay is the longest possible. */
export function stage(options = {}) {
  const sockets = [];
  class FakeSocket {
    constructor(address, protocols) {
      this.url = new URL(address);
      this.protocols = protocols;
      this.sent = [];
      sockets.push(this);
    }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() { this.isClosed = true; }
    say(event) { this.onmessage({ data: JSON.stringify(event) }); }
    end(code, reason = "") { this.onclose?.({ code, reason }); }
    /** Returns the last command of a type. */
    last(type) { return this.sent.findLast((command) => command.type === type); }
    count(type) { return this.sent.filter((command) => command.type === type).length; }
    answer(type, event) { this.say({ re: this.last(type).id, ...event }); }
    welcome(event = {}) {
      this.say({
        type: "welcome", session: `s${sockets.length}`, user: "alice", room: "lobby", epoch: "e1", offset: 0,
        recovered: false, heartbeat_ms: 25_000, limits: {}, ...event,
      });
      // After a replay, the test itself answers the ping that ends it.
      if (!event.recovered && this.count("ping") > 0) this.answer("ping", { type: "pong" });
    }
  }
  const clock = new ManualClock();
  const network = new EventTarget();
  const client = new Client({
    user: "alice", room: "lobby", url: "http://chat.test/", WebSocket: FakeSocket, clock, network,
    backoff: new Backoff({ random: () => 1 }), ...options,
  });
  const events = [];
  for (const type of ["state", "message", "direct", "joined", "resumed", "gap", "typing", "limited", "error"]) {
    client.on(type, (event) => events.push({ event: type, ...event, code: event.code }));
  }
  const of = (type) => events.filter(({ event }) => event === type);
  const current = () => sockets.at(-1);
  return { client, clock, network, sockets, current, events, of };
}

export const message = (offset, room = "lobby") => ({
  type: "message", user: "bob", message: `m${offset}`, room, offset, id: `e1-${offset}`, ts: 0,
});
/** Returns the code with which a promise is rejected. */
export const refusal = (promise) => promise.then(() => { throw new Error("was not refused"); }, (error) => error.code);
