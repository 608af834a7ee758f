/** A small server of Phoenix channels, and a member of their official client, the package phoenix. */
import { Socket } from "phoenix";
import { WebSocket } from "ws";
import { Rooms, webSockets } from "./common.mjs";

export async function start({ token, beat = 60_000 } = {}) {
  const rooms = new Rooms(), beats = { answered: 0 };
  const { url, stop } = await webSockets("/socket/websocket", (socket) => {
    let timer;
    const awaitHeartbeat = () => {
      clearTimeout(timer);
      timer = setTimeout(() => socket.close(1000, "no heartbeat"), beat);
    };
    awaitHeartbeat();
    socket.on("close", () => { clearTimeout(timer); rooms.leave(socket); });
    socket.on("message", (data) => {
      const [join, reference, topic, event, payload] = JSON.parse(data.toString());
      const reply = (status, response) =>
        socket.say([join, reference, topic, "phx_reply", { status, response }]);
      if (topic === "phoenix" && event === "heartbeat") {
        beats.answered += 1;
        awaitHeartbeat();
        return reply("ok", {});
      }
      if (event === "phx_join") {
        if (token && payload.token !== token) return reply("error", { reason: "unauthorized" });
        rooms.enter(topic, socket);
        reply("ok", { color: "#ff0000" });
        const members = Array.from({ length: 20 }, (_, n) => [`user-${n}`, { metas: [{ phx_ref: `ref-${n}` }] }]);
        return socket.say([join, null, topic, "presence_state", Object.fromEntries(members)]);
      }
      if (!rooms.has(topic, socket)) return reply("error", { reason: "unmatched topic" });
      const text = JSON.stringify([null, null, topic, event, payload]);
      rooms.relay(topic, (member) => member.say(text));
      reply("ok", {});
    });
  });
  return { url, stop, rooms, beats, options: [] };
}

export async function observe({ url }, topic = "room:bench-0") {
  const socket = new Socket(`${url}/socket`, { transport: WebSocket });
  const seen = { messages: 0, leave: () => socket.disconnect() };
  socket.connect();
  const channel = socket.channel(topic, {});
  channel.on("message", () => { seen.messages += 1; });
  await new Promise((resolve, reject) => {
    channel.join().receive("ok", resolve).receive("error", reject);
  });
  return seen;
}
