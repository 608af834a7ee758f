/** A chat room on the npm package `ws`: `node ws.mjs PORT`. It follows the broadcast example of its documentation. */
import { createRequire } from "node:module";

const { WebSocket, WebSocketServer } = createRequire(`${process.cwd()}/`)("ws");
const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), maxPayload: 64 * 1024 });

server.on("connection", (socket, request) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const user = pathname.slice(1);
  const name = searchParams.get("room") ?? "lobby";
  if (!rooms.has(name)) rooms.set(name, new Set());
  const room = rooms.get(name);
  room.add(socket);
  socket.on("message", (data) => {
    let command;
    try {
      command = JSON.parse(data);
    } catch {
      return socket.close(1003, "not JSON");
    }
    const event = JSON.stringify({ type: "message", user, message: command.message, room: name, ts: Date.now() });
    for (const member of room) {
      if (member.readyState === WebSocket.OPEN) member.send(event);
    }
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => {
    room.delete(socket);
    if (room.size === 0) rooms.delete(name);
  });
});
