/** What the small servers have in common: a port, its sockets, and the count of what they relayed. */
import { createServer } from "node:http";
import { once } from "node:events";
import { WebSocketServer } from "ws";

/** Listens on a free port of loopback; returns the HTTP server. */
export async function listen() {
  const http = createServer((_, response) => response.writeHead(404).end());
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return http;
}

/**
 * Serves WebSockets at a path. `serve(socket, request)` is called for each, and a socket has `say(text)`.
 * Returns the URL and a function that ends everything.
 */
export async function webSockets(path, serve) {
  const http = await listen();
  const server = new WebSocketServer({ server: http });
  server.on("connection", (socket, request) => {
    if (request.url.split("?")[0] !== path) return socket.close(1008, "no such path");
    socket.on("error", () => socket.terminate());
    socket.say = (text) => socket.send(typeof text === "string" ? text : JSON.stringify(text));
    serve(socket, request);
  });
  const stop = async () => {
    for (const socket of server.clients) socket.terminate();
    server.close();
    http.close();
    await once(http, "close");
  };
  return { url: `ws://127.0.0.1:${http.address().port}`, stop };
}

/** The members of rooms by name, and the number of messages that were passed to them. */
export class Rooms {
  #rooms = new Map();
  relayed = 0;

  enter(name, member) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Set());
    this.#rooms.get(name).add(member);
  }

  has(name, member) {
    return this.#rooms.get(name)?.has(member) ?? false;
  }

  leave(member) {
    for (const members of this.#rooms.values()) members.delete(member);
  }

  /** Calls `tell` for each member of the room. */
  relay(name, tell, except) {
    for (const member of this.#rooms.get(name) ?? []) {
      if (member === except) continue;
      tell(member);
      this.relayed += 1;
    }
  }
}
