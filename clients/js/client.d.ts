/** A client of throng for browsers and Node. It reconnects, resumes every room, and sends each message once. */

/** Any value that JSON can hold. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** The server's limits, from its welcome. */
export interface Limits {
  max_message_bytes?: number;
  max_message_chars?: number;
  max_rooms?: number;
  max_keys?: number;
  max_data_bytes?: number;
  messages_per_second?: number;
  burst?: number;
}

/** The state of the connection. "waiting" has the last close and the delay in milliseconds, "stopped" the last close,
 *  "online" the server's limits. */
export interface State {
  name: "idle" | "connecting" | "online" | "waiting" | "stopped";
  delayMs?: number;
  /** Attempts since the last healthy connection. */
  attempt?: number;
  code?: number;
  reason?: string;
  /** True if the server had announced the end of the connection. */
  isAdvised?: boolean;
  limits?: Limits;
}

/** A message in a room. `offset` counts the room's messages from 1; `ts` is in milliseconds since the Unix epoch, for
 *  display only; `name` is that of the user for people; `data` is what the message carries beside its text. */
export interface Message {
  room: string;
  user: string;
  message: string;
  offset: number;
  id: string;
  ts: number;
  name?: string;
  data?: any;
}

/** A private message to this user. */
export interface Direct {
  user: string;
  message: string;
  id: string;
  ts: number;
  name?: string;
  data?: any;
}

/** The position of a message. `duplicate` is true when an earlier try had published it already. */
export interface Ack {
  room: string;
  epoch: string;
  offset: number;
  duplicate: boolean;
}

/** A page of a room's messages, oldest first. `more` is true when older ones are kept. */
export interface History {
  messages: Message[];
  more: boolean;
}

/** A page of a room's users. `members` counts all of them; `names` has names for people, by user. */
export interface Presence {
  users: string[];
  members: number;
  more: boolean;
  names?: Record<string, string>;
}

/** The events of {@link Client.on}. */
export interface Events {
  state: State;
  message: Message;
  direct: Direct;
  /** A room was entered, for the first time or after a reconnect. */
  joined: { room: string; epoch: string; offset: number; recovered: boolean; members?: number };
  /** A room was entered again. If recovered, `missed` messages were replayed; if not, they are lost, and null means an
   *  unknown number. */
  resumed: { room: string; recovered: boolean; missed: number | null };
  /** The messages with these offsets are lost. */
  gap: { room: string; from: number; to: number };
  presence_diff: {
    room: string; joined?: string[]; left?: string[]; members: number; names?: Record<string, string>;
  };
  typing: { room: string; user: string };
  /** The server limits the rate; queued messages are sent after that time. */
  limited: { retryAfterMs: number };
  /** An error that rejects no promise. */
  error: ChatError;
}

/** The reason why a command failed. `code` is one of the server's, or `invalid_argument`, `queue_full`, `offline`,
 *  `connection_lost`, `unknown_outcome` (it may have been published), `stopped`, or `removed`. */
export class ChatError extends Error {
  constructor(code: string, message?: string, retryAfterMs?: number);
  code: string;
  retryAfterMs: number | undefined;
}

/** Computes the delay before each attempt with full jitter: `random(0, min(cap, base * 2^attempt))`. */
export class Backoff {
  constructor(options?: { baseMs?: number; capMs?: number; healthyMs?: number; random?: () => number });
  attempt: number;
  /** Returns the next delay in milliseconds, after a connection that was up for `healthyForMs`. */
  next: (end?: { healthyForMs?: number; afterMs?: number }) => number;
}

/** A clock, for tests. */
export interface Clock {
  now(): number;
  setTimeout(run: () => void, ms: number): any;
  clearTimeout(timer: any): void;
}

/** Where a client is: the secret of its connection, and its position in each room. */
export interface Position {
  session?: string;
  rooms: { name: string; epoch: string | null; offset: number }[];
}

export interface Options {
  /** 3 to 64 of `A-Z a-z 0-9 _ . : @ -`. */
  user: string;
  /** A name for people; where tokens are required, theirs counts. */
  name?: string;
  /** The first room; by default the server's default room. */
  room?: string;
  /** URL of the server's `/`; by default the address of the page. */
  url?: string | URL;
  /** A JWT, or a function that returns a fresh one, for each connection and before the last one expires. */
  token?: string | (() => string | Promise<string>);
  /** Where an earlier client was, from its `position`: this one takes its connection over, and resumes. */
  position?: Position;
  /** A WebSocket constructor, if the platform has none: that of the package `ws` before Node 22. */
  WebSocket?: any;
  /** Most messages that wait for their acks, and most other commands that wait: 100 by default. */
  maxQueued?: number;
  /** Milliseconds after a heartbeat was due, until the connection counts as dead: 10,000 by default. */
  graceMs?: number;
  /** Longest wait in milliseconds for the answer to a command: 30,000 by default. */
  answerMs?: number;
  backoff?: Backoff;
  clock?: Clock;
  /** An EventTarget with the events "online" and "offline"; by default the window. */
  network?: any;
}

/** A connection to the chat that reconnects by itself. */
export class Client {
  constructor(options: Options);
  get state(): State;
  get rooms(): string[];
  /** Where this client is, for a client in a page that was loaded anew. */
  get position(): Position;
  /** How many messages wait for their acks. */
  get queued(): number;
  /** Adds a listener; returns a function that removes it. */
  on<T extends keyof Events>(type: T, listener: (event: Events[T]) => void): () => void;
  /** Connects, and reconnects until {@link close}. Rejects if the client stops before the first welcome. */
  connect(): Promise<void>;
  /** Closes the connection for good. Everything that still waits is rejected with `stopped`. */
  close(): void;
  /** Publishes in a room; waits while offline. `data` is any JSON that the message carries beside its text. */
  send(room: string, message: string, data?: any): Promise<Ack>;
  /** Sends a private message to a user. */
  direct(to: string, message: string, data?: any): Promise<{ delivered: number }>;
  /** Enters a room and stays in it over reconnects. */
  join(name: string): Promise<void>;
  leave(name: string): void;
  /** Loads a page of a room's messages, oldest first. */
  history(room: string, page?: { before?: number; limit?: number }): Promise<History>;
  /** Loads a page of a room's users. */
  presence(room: string, page?: { after?: string; limit?: number }): Promise<Presence>;
  /** Tells the others in a room that this user is typing. */
  typing(room: string): void;
}
