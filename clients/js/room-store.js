/** The view of a room that a page shows: its last messages, its number of users, and the state of the connection. */

/** Most messages that are kept, unless the page says otherwise. */
const KEEP = 200;
/** Most messages that the server sends in a page of history. */
const MAX_PAGE = 100;

/** The stores that are in use, by client and room: components that show the same room share one.
 *  @type {WeakMap<object, Map<string, RoomStore>>} */
const stores = new WeakMap();

/** Returns the store of a room, which all its users share. The first one decides how many messages it keeps. */
export function storeOf(client, room, keep = KEEP) {
  const rooms = stores.get(client) ?? new Map();
  stores.set(client, rooms);
  if (!rooms.has(room)) rooms.set(room, new RoomStore(client, room, keep, () => rooms.delete(room)));
  return rooms.get(room);
}

/** A room's view. It is in the room while somebody subscribes, and leaves it afterwards if it entered it. */
export class RoomStore {
  #client; #room; #keep; #forget; #view;
  #listeners = new Set();
  /** Functions that remove the listeners from the client. @type {(() => void)[]} */
  #ears = [];
  #hasEntered = false;
  /** True once offsets have begun anew, so that older messages cannot be asked for. */
  #hasNewEpoch = false;

  constructor(client, room, keep, forget = () => {}) {
    this.#client = client;
    this.#room = room;
    this.#keep = keep;
    this.#forget = forget;
    this.#view = { messages: [], members: undefined, missed: 0, hasMore: false, state: client.state, error: undefined };
  }

  /** The present view: another object after each change. */
  get = () => this.#view;

  /** Calls `changed` after each change; returns a function that ends that. */
  subscribe = (changed) => {
    this.#listeners.add(changed);
    if (this.#listeners.size === 1 && this.#ears.length === 0) this.#enter();
    return () => {
      this.#listeners.delete(changed);
      // React in strict mode subscribes again at once; the room is not left then.
      queueMicrotask(() => this.#listeners.size === 0 && this.#leave());
    };
  };

  /** Loads the page of messages before the oldest one. @returns {Promise<void>} */
  loadOlder = async () => {
    if (this.#hasNewEpoch) return; // the messages before the oldest one are gone
    const before = this.#view.messages[0]?.offset;
    const page = await this.#client.history(this.#room, { before, limit: MAX_PAGE });
    // Meanwhile live messages may have come. Those of the page that are not older come live, too.
    const first = this.#view.messages[0]?.offset ?? Infinity;
    const older = page.messages.filter(({ offset }) => offset < first);
    // The page asked for these: they are kept beyond the limit until later messages push them out.
    this.#change({ messages: [...older, ...this.#view.messages], hasMore: page.more });
  };

  #change(fields) {
    this.#view = { ...this.#view, ...fields };
    for (const changed of [...this.#listeners]) changed();
  }

  #on(type, hear) {
    this.#ears.push(this.#client.on(type, (event) => {
      if (event.room === undefined || event.room === this.#room) hear(event);
    }));
  }

  #enter() {
    this.#on("state", (state) => this.#change({ state }));
    this.#on("message", (message) => {
      if (this.#view.messages.some(({ id }) => id === message.id)) return; // it stood in the history
      const messages = [...this.#view.messages, message];
      const hasMore = this.#view.hasMore || messages.length > this.#keep;
      this.#change({ messages: messages.slice(-this.#keep), hasMore });
    });
    this.#on("presence_diff", ({ members }) => this.#change({ members }));
    this.#on("joined", ({ members }) => members !== undefined && this.#change({ members }));
    this.#on("gap", ({ from, to }) => this.#lose(to - from + 1));
    this.#on("resumed", ({ recovered, missed }) => recovered || this.#lose(missed));
    this.#change({ state: this.#client.state, error: undefined });
    this.#hasEntered = !this.#client.rooms.includes(this.#room);
    this.#client.join(this.#room).then(() => this.#show(), (error) => this.#change({ error }));
  }

  /** Counts lost messages; null means that nobody can tell how many. */
  #lose(count) {
    const { missed, hasMore } = this.#view;
    this.#hasNewEpoch ||= count === null;
    const total = count === null || missed === null ? null : missed + count;
    this.#change({ missed: total, hasMore: hasMore && !this.#hasNewEpoch });
  }

  /** Loads what was said before. A lost connection is no error: live messages come after the reconnect. */
  async #show() {
    try {
      await this.loadOlder();
      const { members } = await this.#client.presence(this.#room, { limit: 1 });
      this.#change({ members });
    } catch (error) {
      if (!["connection_lost", "offline", "stopped"].includes(error.code)) this.#change({ error });
    }
  }

  #leave() {
    for (const remove of this.#ears.splice(0)) remove();
    this.#forget();
    if (this.#hasEntered && this.#client.state.name !== "stopped") this.#client.leave(this.#room);
  }
}
