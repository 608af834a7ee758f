/**
 * A client of throng for browsers, and for Node: stays connected, resumes where it was, says everything once.
 *
 *     const chat = new Client({ user: "alice", room: "lobby" });
 *     chat.on("message", ({ room, user, message }) => console.log(room, user, message));
 *     await chat.connect();
 *     await chat.send("lobby", "hi"); // resolves once the server has it at its place
 *
 * What `throng.v1` promises holds here too: each message of a room once and in order, or a "gap", or a "resumed" that
 * is not recovered. Everything that waits has a limit.
 */

const STOP_CODES = [1002, 1003, 1007, 1008, 3003]; // coming back cannot help; nor from 4500 on
const KEY_LIFE_MS = 270_000; // the server knows a key for five minutes, and a retry later could say it twice
const MAX_TRIES = 5; // a message that went under with so many connections may be what ends them
const CONNECT_MS = 15_000; // the server may need three seconds to find out that our old connection is dead
const CALM_MS = 5_000; // after so long without a word, messages may come in a burst again
const MAX_PACE_MS = 2_000; // between two messages that came too fast
const PROBE_MS = 3_000; // for an answer when the network has changed
const MAX_DELAY_MS = 2 ** 31 - 1; // with a longer delay a timer fires at once
const EARLY = "Token not yet valid"; // with 3000; the same token will be
const WAITING_HELPS = [408, 425, 429]; // and from 500 on; any other answer that is no upgrade stays the same

/**
 * @typedef {{ name: "idle" | "connecting" | "online" | "waiting" | "stopped", delayMs?: number, attempt?: number,
 *   code?: number, reason?: string, isAdvised?: boolean, limits?: any }} State With the last close and
 *   the delay of a wait, or the server's limits.
 * @typedef {{ room: string, user: string, message: string, offset: number, id: string, ts: number }} Message
 * @typedef {{ room: string, epoch: string, offset: number, duplicate: boolean }} Ack
 * @typedef {{ messages: Message[], more: boolean }} History @typedef {{ users: string[], members: number,
 *   more: boolean }} Presence
 * @typedef {{ now(): number, setTimeout(run: () => void, ms: number): any, clearTimeout(timer: any): void }} Clock
 * @typedef {object} Events What {@link Client.on} can listen to.
 * @property {State} state
 * @property {Message} message
 * @property {{ user: string, message: string, id: string, ts: number }} direct A private message to us.
 * @property {{ room: string, epoch: string, offset: number, recovered: boolean, members?: number }} joined We are in.
 * @property {{ room: string, recovered: boolean, missed: number | null }} resumed After a reconnect. Recovered: so many
 *   messages have come belatedly. Not recovered: so many will never come, null when nobody can tell.
 * @property {{ room: string, from: number, to: number }} gap The messages with these offsets will not come.
 * @property {{ room: string, joined?: string[], left?: string[], members: number }} presence_diff
 * @property {{ room: string, user: string }} typing
 * @property {{ retryAfterMs: number }} limited We speak too fast; what is queued goes on by itself after that time.
 * @property {ChatError} error Of something that nobody awaits.
 */

/** Why something did not happen. `code` is one of the server's, or `invalid_argument` (a mistake of the caller),
 *  `queue_full`, `offline`, `connection_lost`, `unknown_outcome` (it was said, or not) or `stopped`. */
export class ChatError extends Error {
  constructor(/** @type {string} */ code, message = "", /** @type {number | undefined} */ retryAfterMs = undefined) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** How long to wait before each attempt: `random(0, min(cap, base * 2^attempt))`, that is full jitter. */
export class Backoff {
  /** @param {{ baseMs?: number, capMs?: number, healthyMs?: number, random?: () => number }} [options] */
  constructor({ baseMs = 500, capMs = 20_000, healthyMs = 30_000, random = Math.random } = {}) {
    this.attempt = 0;
    /** The delay after a connection that was up for `healthyForMs`; `afterMs`, the server's wish, is the first delay, later the least.
     *  @param {{ healthyForMs?: number, afterMs?: number }} [end] */
    this.next = ({ healthyForMs = 0, afterMs } = {}) => {
      if (healthyForMs >= healthyMs) this.attempt = 0;
      const isFirst = this.attempt === 0, own = random() * Math.min(capMs, baseMs * 2 ** this.attempt++);
      return Math.min(isFirst ? afterMs ?? own : Math.max(afterMs ?? 0, own), MAX_DELAY_MS);
    };
  }
}

/** Wall-clock time: unlike a monotonic clock it goes on while the machine sleeps. @type {Clock} */
const SYSTEM_CLOCK = {
  now: () => Date.now(), setTimeout: (run, ms) => setTimeout(run, ms), clearTimeout: (timer) => clearTimeout(timer),
};
const drain = (list, what) => list.splice(0).forEach(what); // empties it
const timed = (ms = 1_000) => Math.min(Math.max(ms, 10), MAX_DELAY_MS); // what a timer takes
const ignore = (/** @type {any} */ _) => {};
const isName = (/** @type {any} */ name, least = 1) =>
  typeof name === "string" && name.length >= least && /^[\w.:@-]{1,64}$/.test(name);
/** For JSON: half of a surrogate pair, which cutting a text leaves behind, is U+FFFD, as it is for encoders. */
const wellFormed = (/** @type {string} */ _, /** @type {any} */ value) =>
  typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
const mistake = (/** @type {string} */ name, /** @type {any} */ value, /** @type {string} */ rule) => {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : typeof value;
  return new ChatError("invalid_argument", `${name}: ${rule}, not ${shown}`);
};
const isAmount = (/** @type {any} */ value) => typeof value === "number" && value >= 1;
const NAME = "of A-Z a-z 0-9 _ . : @ -";

/** What is wrong with a client's options, which no waiting mends. @returns {ChatError | undefined} */
function mistakeIn({ user, room, url, token, WebSocket, ...amounts }) {
  if (!isName(user, 3)) return mistake("user", user, `must be 3 to 64 ${NAME}`);
  if (room && !isName(room)) return mistake("room", room, `must be 1 to 64 ${NAME}`);
  let protocol;
  try { ({ protocol } = new URL(url)); } catch {} // and then there is none
  if (!["http:", "https:", "ws:", "wss:"].includes(protocol)) {
    return mistake("url", url, "must be the server's address and begin with http://, https://, ws:// or wss://");
  }
  const isToken = !token || ["string", "function"].includes(typeof token);
  if (!isToken) return mistake("token", token, "must be a string or a function");
  if (typeof WebSocket !== "function") return mistake("WebSocket", WebSocket, "must be a constructor");
  for (const name of ["maxQueued", "graceMs", "answerMs"]) {
    if (!isAmount(amounts[name])) return mistake(name, amounts[name], "must be a number of at least 1");
  }
}

/** Why trying again cannot help, where the platform tells: the package `ws` does, browsers do not. */
function finalWhy({ error, message = error?.message ?? "" }, canRenew) {
  const code = String(error?.code ?? error?.cause?.code ?? "");
  const isUntrusted = /CERT|SELF_SIGNED|ISSUER|VERIFY_LEAF/.test(code);
  const help = "In Node, NODE_EXTRA_CA_CERTS names a file with a certificate of your own";
  if (isUntrusted) return `The server's certificate is not trusted: ${message} (${code}). ${help}`;
  const status = Number(/server response: (\d{3})/.exec(message)?.[1]);
  if (status === 401 && canRenew) return; // another token may do
  if (status < 500 && !WAITING_HELPS.includes(status)) return `The server answers HTTP status ${status}`;
}

/** A connection to the chat that comes back by itself. */
export class Client {
  #options; #clock; #backoff;
  /** @type {Map<string, Set<(event: any) => void>>} */ #listeners = new Map();
  /** The rooms we want to be in. @type {Map<string, any>} */ #rooms = new Map();
  /** Commands that wait for their answer, by id. @type {Map<string, any>} */ #pending = new Map();
  /** What is to be said, in order; only the first may be under way. @type {any[]} */ #outbox = [];
  /** Who waits for the first welcome. @type {any[]} */ #connecting = [];
  /** @type {State} */ #state = { name: "idle" };
  /** @type {any} */ #socket = null;
  /** The secret that proves that an older connection was ours. @type {string | undefined} */ #session;
  /** The last `disconnect`. @type {any} */ #advice;
  /** The room that the connection was opened with. @type {string | undefined} */ #asked;
  /** The room whose missed messages are coming in. @type {any} */ #replay = null;
  #watchTimer; #retryTimer; #pauseTimer; #joinTimer; #answerTimer;
  /** @type {number | null} */ #openedAt = null;
  #heardAt = 0; #silenceMs = CONNECT_MS; #turn = 0; #lastId = 0; #isSending = false; #isJoining = false;
  /** Between two messages, once they came too fast. */ #paceMs = 0; #sentAt = 0; #messagesPerSecond = 1;
  #keyPrefix = crypto.getRandomValues(new Uint32Array(3)).join("-");
  #networkChanged = () => this.#checkNetwork();
  #unasked = { done: ignore, failed: (/** @type {ChatError} */ error) => this.#emit("error", error) };

  /**
   * @param {object} options
   * @param {string} options.user 3 to 64 of `A-Z a-z 0-9 _ . : @ -`.
   * @param {string} [options.room] The first room; without it the server's default.
   * @param {string} [options.url] Where the server's `/` is; in a page, where the page is.
   * @param {string | (() => string | Promise<string>)} [options.token] A JWT, or what gets a fresh one each time.
   * @param {any} [options.WebSocket] A constructor, where there is none built in.
   * @param {number} [options.maxQueued] Messages that may wait for their acks, and as many other commands.
   * @param {number} [options.graceMs] How long after a heartbeat was due the connection counts as dead.
   * @param {number} [options.answerMs] How long a command may go unanswered before the connection is given up.
   * @param {Backoff} [options.backoff] @param {Clock} [options.clock]
   * @param {any} [options.network] An EventTarget that says "online" and "offline"; in a page, the window.
   */
  constructor(options) {
    const page = /** @type {any} */ (globalThis);
    const defaults = { url: page.location?.href, WebSocket: page.WebSocket, network: page };
    this.#options = { maxQueued: 100, graceMs: 10_000, answerMs: 30_000, ...defaults, ...options };
    if (!this.#options.WebSocket) throw new TypeError("no WebSocket is built in: hand in a constructor");
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#backoff = options.backoff ?? new Backoff();
    if (options.room) this.#room(options.room);
  }

  get state() { return this.#state; }
  get rooms() { return [...this.#rooms.keys()]; }
  get queued() { return this.#outbox.length; }

  /** Listens; what it returns stops that. @template {keyof Events} T @param {T} type
   *  @param {(event: Events[T]) => void} listener */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Connects, and stays so until {@link close}. Rejects when it stops before the first welcome, and at once where an
   *  option can never do.
   *  @returns {Promise<void>} */
  connect() {
    if (this.#state.name === "online") return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#connecting.push({ resolve, reject });
      if (!["idle", "stopped"].includes(this.#state.name)) return;
      const wrong = mistakeIn(this.#options);
      if (wrong) return this.#stop(undefined, wrong.message, wrong);
      for (const type of ["online", "offline"]) this.#options.network?.addEventListener?.(type, this.#networkChanged);
      this.#open();
    });
  }

  /** Goes for good. What waits for an answer is rejected with `stopped`. */
  close() { this.#stop(1000, "closed"); }
  /** Says something in a room; while away it waits. @type {(room: string, message: string) => Promise<Ack>} */
  send(room, message) { return this.#say({ type: "message", room, message }); }
  /** Says something to one user alone. @type {(to: string, message: string) => Promise<{ delivered: number }>} */
  direct(to, message) { return this.#say({ type: "direct", to, message }); }

  /** Enters a room and stays in it over reconnects. @param {string} name @returns {Promise<void>} */
  join(name) {
    if (this.#state.name === "stopped") return Promise.reject(new ChatError("stopped", "Not connected"));
    // It may be what the next connection is opened with, which it would end for good.
    if (!isName(name)) return Promise.reject(new ChatError("invalid_room", `Invalid room: must be 1 to 64 ${NAME}`));
    const isNew = !this.#rooms.has(name), room = this.#room(name);
    if (room.isIn) return Promise.resolve();
    return new Promise((resolve, reject) => {
      room.waiters.push({ resolve, reject });
      if (isNew && this.#state.name === "online") this.#joinNext();
    });
  }

  /** Leaves a room. @param {string} name */
  leave(name) {
    const room = this.#rooms.get(name);
    if (!this.#rooms.delete(name)) return;
    drain(room.waiters, (waiter) => waiter.reject(new ChatError("stopped", "The room was left")));
    if (this.#state.name === "online") this.#request({ type: "leave", room: name });
    this.#pump();
  }

  /** A page of a room's messages, oldest first. @param {string} room
   *  @param {{ before?: number, limit?: number }} [page] @returns {Promise<History>} */
  history(room, page) {
    return this.#ask({ type: "history", room, epoch: this.#rooms.get(room)?.epoch ?? undefined, ...page });
  }
  /** A page of who is in a room. @param {string} room @param {{ after?: string, limit?: number }} [page]
   *  @returns {Promise<Presence>} */
  presence(room, page) { return this.#ask({ type: "presence", room, ...page }); }
  /** Shows the others that we write. @param {string} room */
  typing(room) { if (this.#state.name === "online") this.#write({ type: "typing", room, id: "typing" }); }
  // Staying connected
  async #open() {
    const turn = ++this.#turn;
    this.#clock.clearTimeout(this.#retryTimer);
    const { WebSocket, url, user, token } = this.#options;
    this.#enter({ name: "connecting", attempt: this.#backoff.attempt });
    this.#watch(CONNECT_MS); // a token may not come either
    try {
      const bearer = typeof token === "function" ? await token() : token;
      if (turn !== this.#turn) return;
      const target = new URL(`ws/chat/${encodeURIComponent(user)}`, url);
      target.protocol = target.protocol.replace("http", "ws");
      const [entry] = this.#rooms.values();
      this.#asked = entry?.name;
      if (entry) target.searchParams.set("room", entry.name);
      if (entry?.epoch) target.searchParams.set("resume", `${entry.epoch}:${entry.offset}`);
      if (this.#session) target.searchParams.set("session", this.#session); // or our half-open one locks us out
      let socket;
      try {
        socket = new WebSocket(target.href, bearer ? ["throng.v1", "bearer", bearer] : ["throng.v1"]);
      } catch (error) { // what it is given will be as wrong the next time
        return this.#stop(1006, String(error));
      }
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = ({ code, reason }) => this.#lost(code, reason);
      // A close follows and says the same; but not in Node 22, when nobody listens there.
      const failed = () => turn === this.#turn && this.#lost(1006, "No connection");
      socket.onerror = (event) => {
        const isFirst = turn === this.#turn && this.#openedAt === null;
        const why = isFirst && finalWhy(event ?? {}, typeof token === "function");
        if (why) this.#stop(1006, why);
        else this.#clock.setTimeout(failed, 0);
      };
      this.#socket = socket;
      this.#watch(CONNECT_MS);
    } catch (error) { // there is no token to be had
      if (turn === this.#turn) this.#lost(1006, String(error));
    }
  }
  /** Drops the connection unless something is heard between `since` and `limitMs` later. */
  #watch(limitMs = this.#silenceMs, since = this.#clock.now()) {
    this.#clock.clearTimeout(this.#watchTimer);
    this.#watchTimer = this.#clock.setTimeout(() => {
      if (this.#heardAt > since) this.#watch(this.#silenceMs, this.#heardAt);
      else this.#lost(3008, "The server is silent");
    }, Math.min(limitMs, Math.max(0, since + limitMs - this.#clock.now())));
  }
  /** When the network comes or goes a wait ends, and a connection has to show that it lives. */
  #checkNetwork() {
    const { name, isAdvised } = this.#state;
    if (name === "waiting" && !isAdvised && globalThis.navigator?.onLine !== false) this.#open();
    if (name !== "online") return;
    this.#request({ type: "ping" });
    this.#watch(PROBE_MS);
  }
  /** Forgets the connection. A dead one takes minutes to notice that it was closed: nobody waits for that. */
  #abandon() {
    const socket = this.#socket;
    if (socket) socket.onmessage = socket.onclose = this.#socket = null;
    const timers = [this.#watchTimer, this.#retryTimer, this.#pauseTimer, this.#joinTimer, this.#answerTimer];
    for (const timer of timers) this.#clock.clearTimeout(timer);
    this.#turn += 1;
    this.#replay = this.#advice = this.#openedAt = null;
    this.#isSending = this.#isJoining = false;
    for (const room of this.#rooms.values()) room.isIn = false;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { failed } of pending) failed(new ChatError("connection_lost", "The connection was lost"));
    socket?.close(1000);
  }
  #lost(closeCode, reason) {
    const advice = this.#advice;
    const code = closeCode === 1005 || closeCode === 1006 ? advice?.code ?? closeCode : closeCode;
    const healthyForMs = this.#openedAt === null ? 0 : this.#clock.now() - this.#openedAt;
    this.#abandon();
    if (code === 4003) for (const room of this.#rooms.values()) room.epoch = null;
    if (code === 1009) this.#giveUpFirst("message_too_long", reason || "Message too big"); // or again
    const isOver = code === 3000 && reason !== EARLY; // then another one is needed
    const needsToken = isOver && typeof this.#options.token !== "function";
    const isFinal = code >= 4500 || STOP_CODES.includes(code) || needsToken;
    if (isFinal || advice?.reconnect === false) return this.#stop(code, reason);
    const delayMs = this.#backoff.next({ healthyForMs, afterMs: advice?.after_ms });
    this.#retryTimer = this.#clock.setTimeout(() => this.#open(), delayMs);
    this.#enter({ name: "waiting", delayMs, attempt: this.#backoff.attempt, code, reason, isAdvised: !!advice });
  }
  #stop(code, reason, error = new ChatError("stopped", reason || `Closed with ${code}`)) {
    this.#abandon();
    for (const type of ["online", "offline"]) this.#options.network?.removeEventListener?.(type, this.#networkChanged);
    for (const list of [this.#connecting, this.#outbox, ...[...this.#rooms.values()].map((room) => room.waiters)]) {
      drain(list, (waiter) => waiter.reject(error));
    }
    this.#enter({ name: "stopped", code, reason });
  }
  // What the server says
  #receive(text) {
    this.#heardAt = this.#clock.now();
    let event;
    try { event = JSON.parse(text) ?? {}; } catch { return this.#lost(1006, "Not JSON"); }
    // Commands are answered one after the other, so an answer ends the replay before it.
    const replay = event.re === undefined ? null : this.#replay;
    if (replay) { this.#replay = null; this.#emit("resumed", replay); }
    // An error that names no command is for the one that waits for longest: so none waits for ever.
    const re = event.re ?? (event.type === "error" ? this.#pending.keys().next().value : undefined);
    const { done, failed } = this.#pending.get(re) ?? this.#unasked;
    this.#pending.delete(re);
    switch (event.type) {
      case "welcome": return this.#welcome(event);
      case "heartbeat": return this.#write({ type: "heartbeat_ack", id: "heartbeat" });
      case "message": return this.#message(event);
      case "gap": return this.#gap(event);
      case "disconnect": return void (this.#advice = event);
      case "error": return failed(new ChatError(event.code, event.message, event.retry_after_ms));
      case "presence_diff": case "typing": if (!this.#rooms.has(event.room)) return; // left; else as the next
      case "direct": return this.#emit(event.type, event);
      default: return done(event); // what a later version says is nobody's
    }
  }
  #welcome(event) {
    // It was left meanwhile, or all were before: there is no connection without an entry room.
    const isLeft = this.#asked ? !this.#rooms.has(this.#asked) : this.#session !== undefined;
    this.#session = event.session;
    this.#openedAt = this.#clock.now();
    this.#silenceMs = event.heartbeat_ms + this.#options.graceMs;
    this.#watch();
    this.#state = { name: "online" };
    this.#messagesPerSecond = event.limits?.messages_per_second || 1;
    if (isLeft) this.#request({ type: "leave", room: event.room });
    else this.#entered(this.#room(event.room), event);
    this.#joinNext();
    drain(this.#connecting, (waiter) => waiter.resolve());
    this.#enter({ name: "online", limits: event.limits });
    this.#pump();
  }
  #room(name) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, { name, epoch: null, offset: 0, isIn: false, waiters: [] });
    return this.#rooms.get(name);
  }
  /** Joins the first room that we are not in, then the next: all of many at once would be too fast. */
  #joinNext() {
    const room = [...this.#rooms.values()].find(({ isIn }) => !isIn);
    if (this.#isJoining) return;
    if (!room) return this.#request({ type: "ping" }); // whose answer ends the replay of the last one
    this.#isJoining = true;
    const next = () => { this.#isJoining = false; this.#joinNext(); };
    const done = (/** @type {any} */ event) => { this.#entered(room, event); next(); };
    const resume = room.epoch ? { epoch: room.epoch, offset: room.offset } : undefined;
    this.#request({ type: "join", room: room.name, resume }, done, (error) => {
      const { code, message, retryAfterMs } = error;
      if (code === "unavailable") return this.#lost(1013, message);
      if (code === "rate_limited") return void (this.#joinTimer = this.#clock.setTimeout(next, timed(retryAfterMs)));
      if (code === "connection_lost") return;
      if (this.#rooms.get(room.name) !== room) return next(); // left meanwhile
      this.#rooms.delete(room.name);
      if (room.waiters.length === 0) this.#emit("error", error);
      drain(room.waiters, (waiter) => waiter.reject(error));
      this.#pump();
      next();
    });
  }
  #entered(room, { epoch, offset, recovered, members }) {
    if (this.#rooms.get(room.name) !== room) return; // left meanwhile
    const { wasIn } = room, missed = room.epoch === epoch ? offset - room.offset : null;
    Object.assign(room, { epoch, offset, isIn: true, wasIn: true });
    drain(room.waiters, (waiter) => waiter.resolve());
    if (recovered) this.#replay = { room: room.name, recovered, missed: 0 };
    this.#emit("joined", { room: room.name, epoch, offset, recovered, members });
    if (wasIn && !recovered) this.#emit("resumed", { room: room.name, recovered: missed === 0, missed });
    this.#pump();
  }
  #message(event) {
    const room = this.#rooms.get(event.room);
    if (!room?.isIn || event.offset <= room.offset) return; // left, or a duplicate
    // The server says gaps itself; should it ever not, they are told all the same.
    if (event.offset > room.offset + 1) this.#gap({ room: room.name, from: room.offset + 1, to: event.offset - 1 });
    room.offset = event.offset;
    if (this.#replay?.room === room.name) this.#replay.missed += 1;
    this.#emit("message", event);
  }
  #gap(event) {
    const room = this.#rooms.get(event.room);
    if (!room?.isIn || event.to <= room.offset) return;
    room.offset = event.to;
    this.#emit("gap", event);
  }
  // What we say
  async #say(command) {
    const { maxQueued } = this.#options;
    if (this.#state.name === "stopped") throw new ChatError("stopped", "Not connected");
    for (const [name, value] of Object.entries(command)) {
      if (typeof value !== "string") throw mistake(name, value, "must be a string");
    }
    if (this.#outbox.length >= maxQueued) throw new ChatError("queue_full", `${maxQueued} messages wait already`);
    const key = `${this.#keyPrefix}-${++this.#lastId}`;
    return new Promise((resolve, reject) => {
      this.#outbox.push({ command: { ...command, key }, resolve, reject, firstSentAt: 0, tries: 0 });
      this.#pump();
    });
  }
  /** Sends the first of the outbox. One at a time: so they keep their order, whatever is refused or lost. */
  #pump() {
    const first = this.#outbox[0];
    if (this.#state.name !== "online" || this.#isSending || !first) return;
    const now = this.#clock.now();
    if (first.tries === 0 || now < first.firstSentAt) first.firstSentAt = now; // a clock may be set back
    if (now - first.firstSentAt > KEY_LIFE_MS || first.tries >= MAX_TRIES) {
      this.#giveUpFirst("unknown_outcome", "It was sent, or not: no answer came");
      return this.#pump();
    }
    const room = this.#rooms.get(first.command.room);
    if (room && !room.isIn) return; // it is about to be entered again
    const next = () => { this.#isSending = false; this.#pump(); };
    this.#isSending = true;
    if (now - this.#sentAt > CALM_MS) this.#paceMs = 0;
    const waitMs = Math.min(this.#sentAt + this.#paceMs - now, this.#paceMs);
    if (waitMs > 0) return void (this.#pauseTimer = this.#clock.setTimeout(next, waitMs));
    this.#sentAt = now;
    first.tries += 1;
    const settled = (settle, outcome) => { this.#outbox.shift(); settle(outcome); next(); };
    this.#request(first.command, (ack) => settled(first.resolve, ack), (error) => {
      if (error.code === "connection_lost") return;
      const outcome = first.tries > 1 ? new ChatError("unknown_outcome", error.message) : error;
      if (error.code !== "rate_limited") return settled(first.reject, outcome);
      first.tries -= 1; // this one was answered; an earlier one may not have been
      // Or the next would be refused again, once too often in the end; others may speak for the same user.
      this.#paceMs = Math.min(Math.max(2 * this.#paceMs, 1_125 / this.#messagesPerSecond), MAX_PACE_MS);
      const retryAfterMs = timed(error.retryAfterMs);
      this.#pauseTimer = this.#clock.setTimeout(next, retryAfterMs);
      this.#emit("limited", { retryAfterMs });
    });
  }
  /** Gives up the first of the outbox if it was tried. */
  #giveUpFirst(code, message) {
    if (this.#outbox[0]?.tries > 0) this.#outbox.shift().reject(new ChatError(code, message));
  }
  /** A command that makes no sense later. */
  async #ask(command) {
    if (this.#state.name !== "online") throw new ChatError("offline", "Not connected");
    if (this.#pending.size >= this.#options.maxQueued) throw new ChatError("queue_full", "Too many commands wait");
    return new Promise((resolve, reject) => this.#request(command, resolve, reject));
  }
  /** The callbacks run before the next event is looked at. */
  #request(command, done = ignore, failed = ignore) {
    const id = String(++this.#lastId);
    const text = JSON.stringify({ ...command, id }, wellFormed); // fails for what is none, before anything waits
    this.#pending.set(id, { done, failed, sentAt: this.#clock.now() });
    if (this.#pending.size === 1) this.#awaitAnswers();
    this.#socket?.send(text);
  }
  /** Drops the connection when the oldest command has no answer in time: what is behind it would wait as well. */
  #awaitAnswers() {
    this.#clock.clearTimeout(this.#answerTimer);
    const [oldest] = this.#pending.values();
    if (!oldest) return;
    const now = this.#clock.now();
    oldest.sentAt = Math.min(oldest.sentAt, now); // the clock may have been set back
    const leftMs = oldest.sentAt + this.#options.answerMs - now;
    if (leftMs <= 0) return this.#lost(1006, "No answer in time");
    this.#answerTimer = this.#clock.setTimeout(() => this.#awaitAnswers(), Math.min(leftMs, MAX_DELAY_MS));
  }
  #write(command) { this.#socket?.send(JSON.stringify(command, wellFormed)); }
  #enter(state) { this.#emit("state", this.#state = state); }
  #emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try { listener(event); } catch (error) { queueMicrotask(() => { throw error; }); } // for the console
    }
  }
}
