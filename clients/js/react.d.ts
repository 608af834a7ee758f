import type { Ack, ChatError, Client, Message, State } from "./client.js";

/** The view of a room that a component shows. */
export interface RoomView {
  /** The last messages, oldest first: those of the history, then live ones. */
  messages: readonly Message[];
  /** The number of users in the room, once it is known. */
  members: number | undefined;
  /** How many messages were lost while this was shown; null means an unknown number. */
  missed: number | null;
  /** True if older messages can be loaded. */
  hasMore: boolean;
  /** The state of the connection. */
  state: State;
  /** Why the room could not be entered. */
  error: ChatError | undefined;
  /** Publishes in the room; see {@link Client.send}. */
  send: (message: string, data?: any) => Promise<Ack>;
  /** Loads older messages. Rejects with `offline` or `connection_lost` if there is no connection. */
  loadOlder: () => Promise<void>;
}

/** Enters a room while the component is shown, and leaves it afterwards, unless the client was in it before.
 *  `keep` is the most messages that are kept: 200 by default. */
export function useRoom(client: Client, room: string, options?: { keep?: number }): RoomView;

/** Returns the state of the connection, and renders the component again when it changes. */
export function useConnection(client: Client): State;
