/** A hook for React: what is said in a room, and who is there. */
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { storeOf } from "./room-store.js";

/**
 * Enters a room while the component is shown, and leaves it afterwards, unless the client was in it before. Components
 * that show the same room share one view.
 */
export function useRoom(client, room, { keep } = {}) {
  const store = useMemo(() => storeOf(client, room, keep), [client, room, keep]);
  const view = useSyncExternalStore(store.subscribe, store.get, store.get);
  const send = useCallback((message, data) => client.send(room, message, data), [client, room]);
  return { ...view, send, loadOlder: store.loadOlder };
}

/** Returns the state of the connection, and renders the component again when it changes. */
export function useConnection(client) {
  const subscribe = useCallback((changed) => client.on("state", changed), [client]);
  const get = () => client.state;
  return useSyncExternalStore(subscribe, get, get);
}
