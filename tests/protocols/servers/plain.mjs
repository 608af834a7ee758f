/** Servers that relay each text as it is: to everybody, to everybody else, or back to the sender. */
import { once } from "node:events";
import { WebSocket } from "ws";
import { Rooms, webSockets } from "./common.mjs";

export async function start({ receivers = "room" } = {}) {
  const rooms = new Rooms();
  const { url, stop } = await webSockets("/", (socket) => {
    rooms.enter(receivers === "publisher" ? socket : "all", socket);
    socket.on("close", () => rooms.leave(socket));
    socket.on("message", (data, isBinary) => {
      const room = receivers === "publisher" ? socket : "all";
      const except = receivers === "others" ? socket : undefined;
      rooms.relay(room, (member) => member.send(data, { binary: isBinary }), except);
    });
  });
  return { url, stop, rooms, options: [] };
}

/** Joins as the package `ws` does, and counts. */
export async function observe({ url }) {
  const socket = new WebSocket(url);
  const seen = { messages: 0, leave: () => socket.close() };
  socket.on("message", () => { seen.messages += 1; });
  await once(socket, "open");
  return seen;
}
