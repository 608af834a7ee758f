/** A small server of Pusher's protocol, and a member of its official client, the package pusher-js. */
import { createHmac } from "node:crypto";
import Pusher from "pusher-js";
import { Rooms, webSockets } from "./common.mjs";

const KEY = "app-key", SECRET = "app-secret";

const sign = (socketId, channel) =>
  `${KEY}:${createHmac("sha256", SECRET).update(`${socketId}:${channel}`).digest("hex")}`;

export async function start({ beat = 120_000 } = {}) {
  const rooms = new Rooms(), beats = { answered: 0 };
  let sockets = 0;
  const { url, stop } = await webSockets(`/app/${KEY}`, (socket) => {
    sockets += 1;
    const socketId = `1234.${sockets}`;
    // The data of the server's own events is JSON in a string.
    const tell = (event, data, channel) => socket.say({ event, channel, data: JSON.stringify(data) });
    let isAlive = true;
    const timer = setInterval(() => {
      if (!isAlive) return socket.close(4201, "no pong");
      isAlive = false;
      socket.say({ event: "pusher:ping", data: {} });
    }, beat);
    tell("pusher:connection_established", { socket_id: socketId, activity_timeout: 120 });
    socket.on("close", () => { clearInterval(timer); rooms.leave(socket); });
    socket.on("message", (message) => {
      const { event, channel, data } = JSON.parse(message.toString());
      if (event === "pusher:ping") return socket.say({ event: "pusher:pong", data: {} });
      if (event === "pusher:pong") { isAlive = true; beats.answered += 1; return; }
      if (event === "pusher:subscribe") {
        if (data.auth !== sign(socketId, data.channel)) {
          return socket.say({ event: "pusher:error", data: { code: 4009, message: "wrong signature" } });
        }
        rooms.enter(data.channel, socket);
        return tell("pusher_internal:subscription_succeeded", {}, data.channel);
      }
      if (!event.startsWith("client-") || !rooms.has(channel, socket)) {
        return socket.say({ event: "pusher:error", data: { code: 4301, message: "not allowed" } });
      }
      const text = JSON.stringify({ event, channel, data });
      rooms.relay(channel, (member) => member.say(text), socket);
    });
  });
  return { url: `${url}/app/${KEY}`, stop, rooms, beats, options: ["--secret", SECRET] };
}

export async function observe({ url }, channel = "private-bench-0") {
  const { hostname, port } = new URL(url);
  const client = new Pusher(KEY, {
    cluster: "", wsHost: hostname, wsPort: port, forceTLS: false, enabledTransports: ["ws"],
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => done(null, { auth: sign(socketId, channelName) }),
    },
  });
  const seen = { messages: 0, leave: () => client.disconnect() };
  const subscription = client.subscribe(channel);
  subscription.bind("client-message", () => { seen.messages += 1; });
  await new Promise((resolve, reject) => {
    subscription.bind("pusher:subscription_succeeded", resolve);
    subscription.bind("pusher:subscription_error", reject);
  });
  return seen;
}
