/**
 * A client of throng for browsers and Node. It reconnects, resumes every room, and sends each message once.
 *
 *     const chat = new Client({ user: "alice", room: "lobby" });
 *     chat.on("message", ({ room, user, message }) => console.log(room, user, message));
 *     await chat.connect();
 *     await chat.send("lobby", "hi"); // resolves when the server has assigned an offset to the message
 *
 * The guarantees of `throng.v1` hold here too: each message of a room arrives once and in order, or a "gap" or a
 * "resumed" that is not recovered says that it is missing. Every queue and every wait has a limit.
 */

const STOP_CODES = [1002, 1003, 1007, 1008, 3003]; // codes after which reconnecting cannot help, as from 4500 on
const KEY_LIFE_MS = 270_000; // the server remembers a key for five minutes; a later retry could publish it twice
const MAX_TRIES = 5; // a message may be the cause if so many connections have ended while it was in flight
const CONNECT_MS = 15_000; // the server may need three seconds to find out that the old connection is dead
const CALM_MS = 5_000; // after this pause, messages may be sent in a burst again
const MAX_PACE_MS = 2_000; // longest pause between two messages after a rate limit
const PROBE_MS = 3_000; // time for the answer to a ping after the network has changed
const MAX_DELAY_MS = 2 ** 31 - 1; // a timer with a longer delay fires at once
const EARLY = "Token not yet valid"; // reason of a close with 3000 after which the same token is valid later
const RENEW_FROM = 0.75, RENEW_OVER = 0.15; // part of its time after which a token is renewed; not the same for all
const LAST_RENEWAL_MS = 1_000; // if less is left of a token, the next connection brings another
const RETRY_STATUSES = [408, 425, 429]; // HTTP statuses worth another attempt, as all from 500 on

/**
 * @typedef {{ name: "idle" | "connecting" | "online" | "waiting" | "stopped", delayMs?: number, attempt?: number,
 *   code?: number, reason?: string, isAdvised?: boolean, limits?: any }} State "waiting" has the last close and the
 *   delay, "stopped" the last close, "online" the server's limits.
 * @typedef {{ room: string, user: string, message: string, offset: number, id: string, ts: number, name?: string,
 *   data?: any }} Message `name` is that of the user for people, and `data` what the message carries, if it does.
 * @typedef {{ room: string, epoch: string, offset: number, duplicate: boolean }} Ack
 * @typedef {{ messages: Message[], more: boolean }} History @typedef {{ users: string[], members: number,
 *   more: boolean, names?: Record<string, string> }} Presence `names` has those of users for people, by user.
 * @typedef {{ session?: string, rooms: { name: string, epoch: string | null, offset: number }[] }} Position
 * @typedef {{ now(): number, setTimeout(run: () => void, ms: number): any, clearTimeout(timer: any): void }} Clock
 * @typedef {object} Events The events of {@link Client.on}.
 * @property {State} state
 * @property {Message} message
 * @property {{ user: string, message: string, id: string, ts: number, name?: string, data?: any }} direct A private
 *   message to us.
 * @property {{ room: string, epoch: string, offset: number, recovered: boolean, members?: number }} joined A room was
 *   entered, for the first time or after a reconnect.
 * @property {{ room: string, recovered: boolean, missed: number | null }} resumed A room was entered again after a
 *   reconnect. If recovered, `missed` messages were replayed; if not, they are lost, and null means an unknown number.
 * @property {{ room: string, from: number, to: number }} gap The messages with these offsets are lost.
 * @property {{ room: string, joined?: string[], left?: string[], members: number,
 *   names?: Record<string, string> }} presence_diff
 * @property {{ room: string, user: string }} typing
 * @property {{ retryAfterMs: number }} limited The server limits the rate; queued messages are sent after that time.
 * @property {ChatError} error An error that rejects no promise.
 */

/** The reason why a command failed. `code` is one of the server's, or `invalid_argument` (a mistake of the caller),
 *  `queue_full`, `offline`, `connection_lost`, `unknown_outcome` (it may have been published), `stopped`, or `removed`
 *  (an operator took the user out of a room). */
export class ChatError extends Error {
  constructor(/** @type {string} */ code, message = "", /** @type {number | undefined} */ retryAfterMs = undefined) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Computes the delay before each attempt with full jitter: `random(0, min(cap, base * 2^attempt))`. */
export class Backoff {
  /** @param {{ baseMs?: number, capMs?: number, healthyMs?: number, random?: () => number }} [options] */
  constructor({ baseMs = 500, capMs = 20_000, healthyMs = 30_000, random = Math.random } = {}) {
    this.attempt = 0;
    /** Returns the next delay, after a connection that was up for `healthyForMs`. `afterMs`, which the server may ask
     *  for, is the first delay and the least later one. @param {{ healthyForMs?: number, afterMs?: number }} [end] */
    this.next = ({ healthyForMs = 0, afterMs } = {}) => {
      if (healthyForMs >= healthyMs) this.attempt = 0;
      const isFirst = this.attempt === 0, own = random() * Math.min(capMs, baseMs * 2 ** this.attempt++);
      return Math.min(isFirst ? afterMs ?? own : Math.max(afterMs ?? 0, own), MAX_DELAY_MS);
    };
  }
}

/** The wall clock, which unlike a monotonic clock goes on while the machine sleeps. @type {Clock} */
const SYSTEM_CLOCK = {
  now: () => Date.now(), setTimeout: (run, ms) => setTimeout(run, ms), clearTimeout: (timer) => clearTimeout(timer),
};
const drain = (list, each) => list.splice(0).forEach(each); // empties the list
const timerMs = (ms = 1_000) => Math.min(Math.max(ms, 10), MAX_DELAY_MS);
const ignore = (/** @type {any} */ _) => {};
const isName = (/** @type {any} */ name, least = 1) =>
  typeof name === "string" && name.length >= least && /^[\w.:@-]{1,64}$/.test(name);
/** A replacer for JSON.stringify: replaces half of a surrogate pair, as left by cutting a text, with U+FFFD. */
const wellFormed = (/** @type {string} */ _, /** @type {any} */ value) =>
  typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
const mistake = (/** @type {string} */ name, /** @type {any} */ value, /** @type {string} */ rule) => {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : typeof value;
  return new ChatError("invalid_argument", `${name}: ${rule}, not ${shown}`);
};
const isAmount = (/** @type {any} */ value) => typeof value === "number" && value >= 1;
const NAME = "of A-Z a-z 0-9 _ . : @ -";

/** Finds a mistake in a client's options, with which no attempt can succeed. @returns {ChatError | undefined} */
function mistakeIn({ user, room, url, token, WebSocket, ...amounts }) {
  if (!isName(user, 3)) return mistake("user", user, `must be 3 to 64 ${NAME}`);
  if (room && !isName(room)) return mistake("room", room, `must be 1 to 64 ${NAME}`);
  let protocol;
  try { ({ protocol } = new URL(url)); } catch {} // an invalid URL has no protocol
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

/** Returns why another attempt cannot help, if the platform tells: the package `ws` does, browsers do not. */
function permanentFailure({ error, message = error?.message ?? "" }, canRenew) {
  const code = String(error?.code ?? error?.cause?.code ?? "");
  const isUntrusted = /CERT|SELF_SIGNED|ISSUER|VERIFY_LEAF/.test(code);
  const help = "In Node, NODE_EXTRA_CA_CERTS names a file with a certificate of your own";
  if (isUntrusted) return `The server's certificate is not trusted: ${message} (${code}). ${help}`;
  const status = Number(/server response: (\d{3})/.exec(message)?.[1]);
  if (status === 401 && canRenew) return; // another token may be accepted
  if (status < 500 && !RETRY_STATUSES.includes(status)) return `The server answers HTTP status ${status}`;
}

/** A connection to the chat that reconnects by itself. */
export class Client {
  #options; #clock; #backoff;
  /** @type {Map<string, Set<(event: any) => void>>} */ #listeners = new Map();
  /** The rooms to be in, over reconnects. @type {Map<string, any>} */ #rooms = new Map();
  /** Commands without an answer yet, by id. @type {Map<string, any>} */ #pending = new Map();
  /** Messages to be sent, in order; only the first may be in flight. @type {any[]} */ #outbox = [];
  /** Promises of {@link connect}, settled by the first welcome. @type {any[]} */ #connecting = [];
  /** @type {State} */ #state = { name: "idle" };
  /** @type {any} */ #socket = null;
  /** The secret that proves that an earlier connection was this client's. @type {string | undefined} */ #session;
  /** The last `disconnect` event of this connection. @type {any} */ #advice;
  /** The room that the connection was opened with. @type {string | undefined} */ #entryRoom;
  /** The "resumed" event of the room whose missed messages are being replayed. @type {any} */ #replay = null;
  #watchTimer; #retryTimer; #pauseTimer; #joinTimer; #answerTimer; #renewTimer;
  /** @type {number | null} */ #openedAt = null;
  #receivedAt = 0; #silenceMs = CONNECT_MS; #generation = 0; #lastId = 0; #isSending = false; #isJoining = false;
  /** Pause between two messages, after a rate limit. */ #paceMs = 0; #sentAt = 0; #messagesPerSecond = 1;
  #keyPrefix = crypto.getRandomValues(new Uint32Array(3)).join("-");
  #networkChanged = () => this.#checkNetwork();
  #unmatched = { done: ignore, failed: (/** @type {ChatError} */ error) => this.#emit("error", error) };

  /**
   * @param {object} options
   * @param {string} options.user 3 to 64 of `A-Z a-z 0-9 _ . : @ -`.
   * @param {string} [options.name] A name for people; where tokens are required, theirs counts.
   * @param {string} [options.room] The first room; by default the server's default room.
   * @param {string} [options.url] URL of the server's `/`; by default the address of the page.
   * @param {string | (() => string | Promise<string>)} [options.token] A JWT, or a function that returns a fresh one,
   *   for each connection and before the last one expires.
   * @param {Position} [options.position] Where an earlier client was: this one takes its connection over, and resumes.
   * @param {any} [options.WebSocket] A WebSocket constructor, if the platform has none.
   * @param {number} [options.maxQueued] Most messages that wait for their acks, and most other commands that wait.
   * @param {number} [options.graceMs] Time after a heartbeat was due, until the connection counts as dead.
   * @param {number} [options.answerMs] Longest wait for the answer to a command before the connection is ended.
   * @param {Backoff} [options.backoff] @param {Clock} [options.clock]
   * @param {any} [options.network] An EventTarget with the events "online" and "offline"; by default the window.
   */
  constructor(options) {
    const page = /** @type {any} */ (globalThis);
    const defaults = { url: page.location?.href, WebSocket: page.WebSocket, network: page };
    this.#options = { maxQueued: 100, graceMs: 10_000, answerMs: 30_000, ...defaults, ...options };
    if (!this.#options.WebSocket) throw new TypeError("no WebSocket is built in: pass one as options.WebSocket");
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#backoff = options.backoff ?? new Backoff();
    const { session, rooms = [] } = options.position ?? {};
    this.#session = session;
    for (const { name, epoch, offset } of rooms) Object.assign(this.#room(name), { epoch, offset, wasIn: !!epoch });
    if (options.room) this.#room(options.room);
  }

  get state() { return this.#state; }
  get rooms() { return [...this.#rooms.keys()]; }
  get queued() { return this.#outbox.length; }
  /** Where this client is, for {@link Client} in a page that was loaded anew. `session` is a secret.
   *  @returns {Position} */
  get position() {
    const rooms = [...this.#rooms.values()].map(({ name, epoch, offset }) => ({ name, epoch, offset }));
    return { session: this.#session, rooms };
  }

  /** Adds a listener; returns a function that removes it. @template {keyof Events} T @param {T} type
   *  @param {(event: Events[T]) => void} listener */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Connects, and reconnects until {@link close}. Rejects if the client stops before the first welcome, and at once
   *  if an option is invalid.
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

  /** Closes the connection for good. Everything that still waits is rejected with `stopped`. */
  close() { this.#stop(1000, "closed"); }
  /** Publishes in a room; waits while offline. `data` is any JSON that the message carries beside its text.
   *  @type {(room: string, message: string, data?: any) => Promise<Ack>} */
  send(room, message, data) { return this.#enqueue({ type: "message", room, message }, data); }
  /** Sends a private message to a user.
   *  @type {(to: string, message: string, data?: any) => Promise<{ delivered: number }>} */
  direct(to, message, data) { return this.#enqueue({ type: "direct", to, message }, data); }

  /** Enters a room and stays in it over reconnects. @param {string} name @returns {Promise<void>} */
  join(name) {
    if (this.#state.name === "stopped") return Promise.reject(new ChatError("stopped", "Not connected"));
    // The next connection may be opened with this room, and an invalid name would stop the client.
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

  /** Loads a page of a room's messages, oldest first. @param {string} room
   *  @param {{ before?: number, limit?: number }} [page] @returns {Promise<History>} */
  history(room, page) {
    return this.#query({ type: "history", room, epoch: this.#rooms.get(room)?.epoch ?? undefined, ...page });
  }
  /** Loads a page of a room's users. @param {string} room @param {{ after?: string, limit?: number }} [page]
   *  @returns {Promise<Presence>} */
  presence(room, page) { return this.#query({ type: "presence", room, ...page }); }
  /** Tells the others in a room that this user is typing. @param {string} room */
  typing(room) { if (this.#state.name === "online") this.#write({ type: "typing", room, id: "typing" }); }
  // Staying connected
  async #open() {
    const generation = ++this.#generation;
    this.#clock.clearTimeout(this.#retryTimer);
    const { WebSocket, url, user, name, token } = this.#options;
    this.#setState({ name: "connecting", attempt: this.#backoff.attempt });
    this.#watch(CONNECT_MS); // includes the time to get a token
    try {
      const bearer = typeof token === "function" ? await token() : token;
      if (generation !== this.#generation) return;
      const target = new URL(`ws/chat/${encodeURIComponent(user)}`, url);
      target.protocol = target.protocol.replace("http", "ws");
      const [entry] = this.#rooms.values();
      this.#entryRoom = entry?.name;
      if (name) target.searchParams.set("name", name);
      if (entry) target.searchParams.set("room", entry.name);
      if (entry?.epoch) target.searchParams.set("resume", `${entry.epoch}:${entry.offset}`);
      if (this.#session) target.searchParams.set("session", this.#session); // takes a half-open connection over
      let socket;
      try {
        socket = new WebSocket(target.href, bearer ? ["throng.v1", "bearer", bearer] : ["throng.v1"]);
      } catch (error) { // the same arguments would fail again
        return this.#stop(1006, String(error));
      }
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = ({ code, reason }) => this.#disconnected(code, reason);
      // A close event usually follows. Node 22 sends none if nothing listens at the address.
      const failed = () => generation === this.#generation && this.#disconnected(1006, "No connection");
      socket.onerror = (event) => {
        const isFirst = generation === this.#generation && this.#openedAt === null;
        const why = isFirst && permanentFailure(event ?? {}, typeof token === "function");
        if (why) this.#stop(1006, why);
        else this.#clock.setTimeout(failed, 0);
      };
      this.#socket = socket;
      this.#watch(CONNECT_MS);
    } catch (error) { // the function that gets a token failed
      if (generation === this.#generation) this.#disconnected(1006, String(error));
    }
  }
  /** Drops the connection unless something is received between `since` and `limitMs` later. */
  #watch(limitMs = this.#silenceMs, since = this.#clock.now()) {
    this.#clock.clearTimeout(this.#watchTimer);
    this.#watchTimer = this.#clock.setTimeout(() => {
      if (this.#receivedAt > since) this.#watch(this.#silenceMs, this.#receivedAt);
      else this.#disconnected(3008, "The server is silent");
    }, Math.min(limitMs, Math.max(0, since + limitMs - this.#clock.now())));
  }
  /** After a change of the network, ends a wait and checks with a ping that the connection is alive. */
  #checkNetwork() {
    const { name, isAdvised } = this.#state;
    if (name === "waiting" && !isAdvised && globalThis.navigator?.onLine !== false) this.#open();
    if (name !== "online") return;
    this.#request({ type: "ping" });
    this.#watch(PROBE_MS);
  }
  /** Forgets the connection without waiting for its close event, which takes minutes if the network is gone. */
  #dropConnection() {
    const socket = this.#socket;
    if (socket) socket.onmessage = socket.onclose = this.#socket = null;
    const timers = [this.#watchTimer, this.#retryTimer, this.#pauseTimer, this.#joinTimer, this.#answerTimer];
    for (const timer of [...timers, this.#renewTimer]) this.#clock.clearTimeout(timer);
    this.#generation += 1;
    this.#replay = this.#advice = this.#openedAt = null;
    this.#isSending = this.#isJoining = false;
    for (const room of this.#rooms.values()) room.isIn = false;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { failed } of pending) failed(new ChatError("connection_lost", "The connection was lost"));
    socket?.close(1000);
  }
  #disconnected(closeCode, reason) {
    const advice = this.#advice;
    const code = closeCode === 1005 || closeCode === 1006 ? advice?.code ?? closeCode : closeCode;
    const healthyForMs = this.#openedAt === null ? 0 : this.#clock.now() - this.#openedAt;
    this.#dropConnection();
    // Sending it again would end the next connection too.
    if (code === 1009) this.#rejectFirst("message_too_long", reason || "Message too big");
    const isExpired = code === 3000 && reason !== EARLY;
    const needsToken = isExpired && typeof this.#options.token !== "function";
    const isFinal = code >= 4500 || STOP_CODES.includes(code) || needsToken;
    if (isFinal || advice?.reconnect === false) return this.#stop(code, reason);
    const delayMs = this.#backoff.next({ healthyForMs, afterMs: advice?.after_ms });
    this.#retryTimer = this.#clock.setTimeout(() => this.#open(), delayMs);
    this.#setState({ name: "waiting", delayMs, attempt: this.#backoff.attempt, code, reason, isAdvised: !!advice });
  }
  #stop(code, reason, error = new ChatError("stopped", reason || `Closed with ${code}`)) {
    this.#dropConnection();
    for (const type of ["online", "offline"]) this.#options.network?.removeEventListener?.(type, this.#networkChanged);
    for (const list of [this.#connecting, this.#outbox, ...[...this.#rooms.values()].map((room) => room.waiters)]) {
      drain(list, (waiter) => waiter.reject(error));
    }
    this.#setState({ name: "stopped", code, reason });
  }
  // Events of the server
  #receive(text) {
    this.#receivedAt = this.#clock.now();
    let event;
    try { event = JSON.parse(text) ?? {}; } catch { return this.#disconnected(1006, "Not JSON"); }
    // Commands are answered in order, so that an answer ends the replay before it.
    const replay = event.re === undefined ? null : this.#replay;
    if (replay) { this.#replay = null; this.#emit("resumed", replay); }
    // An error that names no command is the answer to the oldest one, so that none waits for ever.
    const re = event.re ?? (event.type === "error" ? this.#pending.keys().next().value : undefined);
    const { done, failed } = this.#pending.get(re) ?? this.#unmatched;
    this.#pending.delete(re);
    switch (event.type) {
      case "welcome": return this.#welcome(event);
      case "heartbeat": return this.#write({ type: "heartbeat_ack", id: "heartbeat" });
      case "message": return this.#message(event);
      case "gap": return this.#gap(event);
      case "epoch": return this.#changeEpoch(event);
      case "disconnect": return void (this.#advice = event);
      case "error": return failed(new ChatError(event.code, event.message, event.retry_after_ms));
      case "left":
        if (event.re === undefined && this.#rooms.has(event.room)) {
          const error = new ChatError("removed", `The server took you out of the room ${event.room}`);
          return this.#expelled(this.#rooms.get(event.room), error);
        }
        return done(event);
      case "presence_diff": case "typing": if (!this.#rooms.has(event.room)) return; // left; else falls through
      case "direct": return this.#emit(event.type, event);
      default: return done(event); // an event of a later version answers no command
    }
  }
  #welcome(event) {
    // Every connection enters a room. Leave it again if it was left meanwhile, or if all rooms had been left before.
    const isLeft = this.#entryRoom ? !this.#rooms.has(this.#entryRoom) : this.#session !== undefined;
    this.#session = event.session;
    this.#openedAt = this.#clock.now();
    this.#silenceMs = event.heartbeat_ms + this.#options.graceMs;
    this.#watch();
    this.#state = { name: "online" };
    this.#messagesPerSecond = event.limits?.messages_per_second || 1;
    if (isLeft) this.#request({ type: "leave", room: event.room });
    else this.#entered(this.#room(event.room), event);
    this.#joinNext();
    this.#renewAfter(event.expires_ms);
    drain(this.#connecting, (waiter) => waiter.resolve());
    this.#setState({ name: "online", limits: event.limits });
    this.#pump();
  }
  /** Gets another token before this one expires in `leftMs`, which the server says where it demands one. */
  #renewAfter(leftMs) {
    if (typeof this.#options.token !== "function" || !(leftMs > LAST_RENEWAL_MS)) return;
    const endsAt = this.#clock.now() + leftMs, share = RENEW_FROM + RENEW_OVER * Math.random();
    const again = () => this.#renewAfter(endsAt - this.#clock.now());
    this.#renewTimer = this.#clock.setTimeout(() => this.#renew(again), Math.min(leftMs * share, MAX_DELAY_MS));
  }
  async #renew(again) {
    const generation = this.#generation;
    let token;
    try { token = await this.#options.token(); } catch {} // the next attempt comes, or in the end the next connection
    if (generation !== this.#generation) return;
    if (typeof token !== "string") return again();
    this.#request({ type: "token", token }, (ack) => this.#renewAfter(ack.expires_ms), (error) => {
      if (error.code !== "connection_lost") again();
    });
  }
  #room(name) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, { name, epoch: null, offset: 0, isIn: false, waiters: [] });
    return this.#rooms.get(name);
  }
  /** Joins the first room that is not entered yet, then the next: all at once would exceed the rate limit. */
  #joinNext() {
    const room = [...this.#rooms.values()].find(({ isIn }) => !isIn);
    if (this.#isJoining) return;
    if (!room) return this.#request({ type: "ping" }); // its answer ends the replay of the last room
    this.#isJoining = true;
    const next = () => { this.#isJoining = false; this.#joinNext(); };
    const done = (/** @type {any} */ event) => { this.#entered(room, event); next(); };
    const resume = room.epoch ? { epoch: room.epoch, offset: room.offset } : undefined;
    this.#request({ type: "join", room: room.name, resume }, done, (error) => {
      const { code, message, retryAfterMs } = error;
      if (code === "unavailable") return this.#disconnected(1013, message);
      if (code === "rate_limited") return void (this.#joinTimer = this.#clock.setTimeout(next, timerMs(retryAfterMs)));
      if (code === "connection_lost") return;
      if (this.#rooms.get(room.name) !== room) return next(); // left meanwhile
      this.#expelled(room, error);
      next();
    });
  }
  #expelled(room, error) {
    this.#rooms.delete(room.name);
    if (room.waiters.length === 0) this.#emit("error", error);
    drain(room.waiters, (waiter) => waiter.reject(error));
    this.#pump();
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
    // The server reports gaps itself; this covers one that it did not report.
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
  /** The room goes on in another epoch, and nothing that came is lost. An epoch that goes on below the position has
   *  lost some of it: the old one is kept, with which the server refuses to resume. */
  #changeEpoch({ room: name, epoch, offset }) {
    const room = this.#rooms.get(name);
    if (room?.isIn && room.offset <= offset) room.epoch = epoch;
  }
  // Commands of the client
  async #enqueue(command, data) {
    const { maxQueued } = this.#options;
    if (this.#state.name === "stopped") throw new ChatError("stopped", "Not connected");
    for (const [name, value] of Object.entries(command)) {
      if (typeof value !== "string") throw mistake(name, value, "must be a string");
    }
    if (this.#outbox.length >= maxQueued) throw new ChatError("queue_full", `${maxQueued} messages already wait`);
    const key = `${this.#keyPrefix}-${++this.#lastId}`;
    return new Promise((resolve, reject) => {
      this.#outbox.push({ command: { ...command, data, key }, resolve, reject, firstSentAt: 0, tries: 0 });
      this.#pump();
    });
  }
  /** Sends the first message of the outbox. Only one is in flight, so that a refused or lost one keeps the order. */
  #pump() {
    const first = this.#outbox[0];
    if (this.#state.name !== "online" || this.#isSending || !first) return;
    const now = this.#clock.now();
    if (first.tries === 0 || now < first.firstSentAt) first.firstSentAt = now; // the clock may have been set back
    if (now - first.firstSentAt > KEY_LIFE_MS || first.tries >= MAX_TRIES) {
      this.#rejectFirst("unknown_outcome", "No answer came: the message may have been published");
      return this.#pump();
    }
    const room = this.#rooms.get(first.command.room);
    if (room && !room.isIn) return; // continues when the room has been entered again
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
      first.tries -= 1; // this try was answered; an earlier one may not have been
      // A slower pace, because too many refusals end the connection, and other connections may share the user's limit.
      this.#paceMs = Math.min(Math.max(2 * this.#paceMs, 1_125 / this.#messagesPerSecond), MAX_PACE_MS);
      const retryAfterMs = timerMs(error.retryAfterMs);
      this.#pauseTimer = this.#clock.setTimeout(next, retryAfterMs);
      this.#emit("limited", { retryAfterMs });
    });
  }
  /** Rejects the first message of the outbox if it has been sent. */
  #rejectFirst(code, message) {
    if (this.#outbox[0]?.tries > 0) this.#outbox.shift().reject(new ChatError(code, message));
  }
  /** Sends a command that is not worth queueing while offline. */
  async #query(command) {
    if (this.#state.name !== "online") throw new ChatError("offline", "Not connected");
    if (this.#pending.size >= this.#options.maxQueued) throw new ChatError("queue_full", "Too many commands wait");
    return new Promise((resolve, reject) => this.#request(command, resolve, reject));
  }
  /** Sends a command. Its callbacks run before the next event is handled. */
  #request(command, done = ignore, failed = ignore) {
    const id = String(++this.#lastId);
    const text = JSON.stringify({ ...command, id }, wellFormed); // throws for what is no JSON, before it is pending
    this.#pending.set(id, { done, failed, sentAt: this.#clock.now() });
    if (this.#pending.size === 1) this.#awaitAnswers();
    this.#socket?.send(text);
  }
  /** Drops the connection if the oldest command has no answer in time, since answers come in order. */
  #awaitAnswers() {
    this.#clock.clearTimeout(this.#answerTimer);
    const [oldest] = this.#pending.values();
    if (!oldest) return;
    const now = this.#clock.now();
    oldest.sentAt = Math.min(oldest.sentAt, now); // the clock may have been set back
    const leftMs = oldest.sentAt + this.#options.answerMs - now;
    if (leftMs <= 0) return this.#disconnected(1006, "No answer in time");
    this.#answerTimer = this.#clock.setTimeout(() => this.#awaitAnswers(), Math.min(leftMs, MAX_DELAY_MS));
  }
  #write(command) { this.#socket?.send(JSON.stringify(command, wellFormed)); }
  #setState(state) { this.#emit("state", this.#state = state); }
  #emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try { listener(event); } catch (error) { queueMicrotask(() => { throw error; }); } // reported to the console
    }
  }
}
