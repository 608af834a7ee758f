/** Plays the cases of `tests/clients/cases.json`, which every client of throng plays. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { settled, stage } from "./fake.mjs";

const { cases, defaults } = JSON.parse(readFileSync(new URL("../clients/cases.json", import.meta.url), "utf8"));
/** The standard answers to commands. */
const ANSWERS = { message: "ack", join: "joined" };
const EVENTS = [
  "state", "message", "direct", "joined", "resumed", "gap", "presence_diff", "typing", "limited", "error",
];
/** The names of this client for what the table calls otherwise. */
const NAMES = { retryAfterMs: "retry_after_ms", delayMs: "delay_ms", isAdvised: "is_advised" };
const OPTIONS = { answer_ms: "answerMs", max_queued: "maxQueued" };

const renamed = (object, names) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [names[name] ?? name, value]));
/** Puts a value of `for` in the place of `$for`. */
const filled = (steps, value) => JSON.parse(JSON.stringify(steps).replaceAll('"$for"', JSON.stringify(value)));

/** One case while it is played. */
class Case {
  #case; #stage; #events = []; #calls = {}; #variables = new Map(); #isReplaying = false;

  constructor(given) { this.#case = given; }

  async play() {
    const { user, room, answer_ms, max_queued } = defaults;
    const options = renamed({ user, room, answer_ms, max_queued, ...this.#case.options }, OPTIONS);
    options.room ??= undefined;
    if (Array.isArray(options.token)) options.token = this.#tokens([...options.token]);
    this.#stage = stage(options);
    const { client } = this.#stage;
    for (const type of EVENTS) {
      client.on(type, (event) => {
        const fields = event instanceof Error ? { code: event.code, message: event.message } : event;
        this.#events.push({ type, ...renamed(fields, NAMES) });
      });
    }
    this.#begin("connect", client.connect());
    await settled();
    await this.#play(this.#case.steps);
    client.close();
    await settled();
    assert.equal(this.#stage.clock.pending, 0, "a timer is left");
  }

  #tokens(tokens) {
    return async () => {
      const token = tokens.shift();
      if (token === null) throw new Error("no backend");
      return token;
    };
  }

  #begin(name, promise) {
    const call = this.#calls[name] = {};
    promise?.then?.((value) => { call.value = { ...value }; }, (error) => { call.error = error; });
  }

  async #play(steps) {
    for (const step of steps) {
      const [kind] = Object.keys(step);
      try {
        await this[kind](step, step[kind]);
      } catch (error) {
        error.message = `${JSON.stringify(step)}: ${error.message}`;
        throw error;
      }
      await settled();
      this.#answerPings();
    }
  }

  /** The server answers each ping at once, unless it replays messages or the case says otherwise. */
  #answerPings() {
    const current = this.#stage.current();
    if (this.#isReplaying || this.#case.answers_pings === false) return;
    for (const ping of current?.sent.filter(({ type, isAnswered }) => type === "ping" && !isAnswered) ?? []) {
      ping.isAnswered = true;
      current.onmessage?.({ data: JSON.stringify({ type: "pong", re: ping.id }) });
    }
  }

  #event(given, overrides) { return { ...(typeof given === "string" ? defaults[given] : given), ...overrides }; }
  #hear(event) { this.#stage.current().say(event); }

  // The server
  welcome(_, overrides) {
    const event = this.#event("welcome", overrides);
    this.#isReplaying = event.recovered;
    this.#hear(event);
  }
  say(step, given) { this.#hear(this.#event(given, step.with)); }
  say_text(_, data) { this.#stage.current().onmessage({ data }); }
  answer(step, to) {
    const asked = this.#stage.current().last(to);
    assert.ok(asked, `no ${to} was sent`);
    const room = to === "join" ? { room: asked.room } : {};
    const event = step.say ?? { ...defaults[ANSWERS[to]], ...step.with, ...room };
    this.#isReplaying = event.recovered === true;
    this.#hear({ re: asked.id, ...event });
  }
  end({ reason }, code) {
    this.#isReplaying = false;
    this.#stage.current().end(code, reason);
  }
  refuse(_, status) {
    this.#stage.current().onerror({ message: `Unexpected server response: ${status}` });
    this.#stage.current().end(1006);
  }

  // The program
  call({ as, room, to, message, data, ...page }, method) {
    const { client } = this.#stage;
    const calls = {
      send: () => client.send(room, message, data),
      direct: () => client.direct(to, message, data),
      join: () => client.join(room),
      leave: () => client.leave(room),
      typing: () => client.typing(room),
      history: () => client.history(room, { before: page.before, limit: page.limit }),
      presence: () => client.presence(room, { after: page.after, limit: page.limit }),
      close: () => client.close(),
      check_network: () => this.#stage.network.dispatchEvent(new Event("online")),
    };
    this.#begin(as ?? method, calls[method]());
  }
  async wait_ms(_, ms) { await this.#stage.clock.pass(ms); }
  async wait_for_retry() {
    assert.equal(this.#stage.client.state.name, "waiting");
    await this.#stage.clock.pass(this.#stage.client.state.delayMs);
  }
  async repeat({ steps }, times) { for (; times > 0; times -= 1) await this.#play(steps); }

  // Expectations of the client
  attempts(_, count) { assert.equal(this.#stage.sockets.length, count); }
  asked(_, query) { assert.deepEqual(Object.fromEntries(this.#stage.current().url.searchParams), query); }
  token(_, token) { assert.equal(this.#stage.current().protocols[2] ?? null, token); }
  sent({ are }, kind) { this.#match(this.#stage.current().sent.filter(({ type }) => type === kind), are); }
  events({ are }, kind) { this.#match(this.#events.filter(({ type }) => type === kind), are); }
  rooms(_, names) { assert.deepEqual(this.#stage.client.rooms, names); }
  state(_, { at_most_ms, ...wanted }) {
    const state = renamed(this.#stage.client.state, NAMES);
    this.#match([state], [wanted]);
    if (at_most_ms !== undefined) assert.equal(state.delay_ms, at_most_ms); // `random` is always 1
  }
  returns({ value }, name) {
    const call = this.#calls[name];
    assert.ok(call.value, `${name} has not returned, but ${call.error}`);
    if (value) this.#match([call.value], [value]);
  }
  fails({ code }, name) { assert.equal(this.#calls[name].error?.code, code); }
  waits(_, name) { assert.deepEqual(this.#calls[name], {}); }

  /** Checks a list of objects: as many, and each with at least the wanted fields. */
  #match(found, wanted) {
    assert.equal(found.length, wanted.length, JSON.stringify(found));
    for (const [index, fields] of wanted.entries()) {
      for (const [name, value] of Object.entries(fields)) this.#same(found[index][name], value);
    }
  }
  /** `$key` stands for any value, the same one each time, and for no value of another variable. */
  #same(found, wanted) {
    if (typeof wanted !== "string" || !wanted.startsWith("$")) return assert.deepEqual(found, wanted);
    for (const [name, value] of this.#variables) assert.equal(value === found, name === wanted, `${wanted}: ${found}`);
    this.#variables.set(wanted, found);
  }
}

for (const given of cases.filter(({ clients }) => clients?.includes("javascript") ?? true)) {
  for (const value of given.for ?? [undefined]) {
    const name = value === undefined ? given.name : `${given.name}: ${value}`;
    test(name, { timeout: 60_000 }, () => new Case({ ...given, steps: filled(given.steps, value ?? null) }).play());
  }
}

test("every kind of expectation can fail", async () => {
  for (const step of [
    { attempts: 2 }, { asked: { room: "tea" } }, { token: "x" }, { state: { name: "stopped" } },
    { sent: "message", are: [] }, { events: "joined", are: [] }, { rooms: [] }, { returns: "send" },
    { fails: "connect", code: "stopped" }, { waits: "connect" },
  ]) {
    const steps = [{ welcome: {} }, { call: "send", room: "lobby", message: "hi" }, step];
    await assert.rejects(new Case({ steps }).play(), assert.AssertionError, JSON.stringify(step));
  }
});

/** Returns the checklist of the manual: a section for each of the table's, and a line for each case. */
function checklist() {
  const sections = [...new Set(cases.map(({ section }) => section))];
  return sections.map((section) => {
    const lines = cases.filter((given) => given.section === section).map(({ name, for: values, clients }) => {
      const only = clients ? ` (only ${clients.join(" and ")})` : "";
      return `- [ ] ${name}${values ? `: ${values.join(", ")}` : ""}${only}`;
    });
    return `### ${section}\n\n${lines.join("\n")}\n`;
  }).join("\n");
}

test("the checklist of the manual is that of the table", () => {
  const page = new URL("../../docs/write-a-client.md", import.meta.url);
  const text = readFileSync(page, "utf8");
  const heading = "## The checklist\n\n";
  const start = text.indexOf(heading) + heading.length;
  assert.ok(start > heading.length, "the page has a checklist");
  // As for the snapshots in Rust: THRONG_SNAPSHOTS=rewrite writes it anew.
  if (process.env.THRONG_SNAPSHOTS === "rewrite") writeFileSync(page, text.slice(0, start) + checklist());
  else assert.equal(text.slice(start), checklist());
});
