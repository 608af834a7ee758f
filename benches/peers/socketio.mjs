/** A chat room on the npm package `socket.io`: `node socketio.mjs PORT`. It uses the library's own rooms. */
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Server } = createRequire(`${process.cwd()}/`)("socket.io");
const web = createServer();
const server = new Server(web, { transports: ["websocket"], maxHttpBufferSize: 64 * 1024 });

server.on("connection", (socket) => {
  const { user, room = "lobby" } = socket.handshake.query;
  socket.join(room);
  socket.on("message", (message) => {
    server.to(room).emit("message", { user, message, room, ts: Date.now() });
  });
});
web.listen(Number(process.argv[2]), "127.0.0.1");
