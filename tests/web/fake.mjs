/** A server without a network, and a time that a test moves: what a client does is seen, not waited for. */
import { webcrypto } from "node:crypto";
import { Backoff, Client } from "../../src/web/client.js";

globalThis.crypto ??= webcrypto; // Node 18 has it, but not under its name

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

  /** The date becomes another; timers count as before. */
  setBack(ms) {
    this.#now -= ms;
    for (const timer of this.#timers.values()) timer.at -= ms;
  }
  advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
    }
    this.#now = end;
  }
}

/** Everything a test with a fake server needs; `random` 1 makes each delay the longest possible. */
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
    /** The last command of a type. */
    last(type) { return this.sent.findLast((command) => command.type === type); }
    count(type) { return this.sent.filter((command) => command.type === type).length; }
    answer(type, event) { this.say({ re: this.last(type).id, ...event }); }
    welcome(event = {}) {
      this.say({
        type: "welcome", session: `s${sockets.length}`, user: "alice", room: "lobby", epoch: "e1", offset: 0,
        recovered: false, heartbeat_ms: 25_000, limits: {}, ...event,
      });
      // Behind a replay it is for the test to say when that is over.
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
/** What a promise was rejected with. */
export const refusal = (promise) => promise.then(() => { throw new Error("was not refused"); }, (error) => error.code);
