/** A server of the package socket.io, and a member of the package socket.io-client. */
import { once } from "node:events";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { listen } from "./common.mjs";

export async function start({ token, beat = 25_000 } = {}) {
  const http = await listen();
  const io = new Server(http, { pingInterval: beat, pingTimeout: beat, serveClient: false });
  const rooms = { relayed: 0 }, beats = { answered: 0 };
  io.use((socket, next) => {
    next(token && socket.handshake.auth.token !== token ? new Error("not you") : undefined);
  });
  io.engine.on("connection", (socket) => {
    socket.on("packet", ({ type }) => { beats.answered += type === "pong" ? 1 : 0; });
  });
  io.on("connection", (socket) => {
    socket.on("message", (text) => {
      rooms.relayed += io.sockets.sockets.size;
      io.emit("message", text);
    });
  });
  const stop = () => io.close();
  return { url: `ws://127.0.0.1:${http.address().port}`, stop, rooms, beats, options: [] };
}

export async function observe({ url }) {
  const socket = connect(url.replace("ws:", "http:"), { transports: ["websocket"] });
  const seen = { messages: 0, leave: () => socket.close() };
  socket.on("message", () => { seen.messages += 1; });
  await once(socket, "connect");
  return seen;
}
