/** A small server of Centrifugo's protocol in JSON, and a member of its official client, the package centrifuge. */
import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";
import { Rooms, webSockets } from "./common.mjs";

export async function start({ token, beat = 25_000 } = {}) {
  const rooms = new Rooms(), beats = { answered: 0 };
  const { url, stop } = await webSockets("/connection/websocket", (socket) => {
    // Like the original, it writes what has gathered as lines of one text.
    let lines = [], waitsForPong = false;
    const tell = (message) => {
      if (lines.length === 0) setImmediate(() => { socket.say(lines.join("\n")); lines = []; });
      lines.push(JSON.stringify(message));
    };
    const timer = setInterval(() => {
      if (waitsForPong) return socket.close(3012, "no pong");
      waitsForPong = true;
      tell({});
    }, beat);
    const refuse = (id, code, message) => tell({ id, error: { code, message } });
    const commands = {
      connect(id, { token: given }) {
        if (token && given !== token) return refuse(id, 101, "unauthorized");
        const data = { color: "#ff0000" };
        tell({ id, connect: { client: `c-${Math.random()}`, data, version: "6.0.0", ping: beat / 1_000, pong: true } });
      },
      subscribe(id, { channel }) {
        rooms.enter(channel, tell);
        tell({ id, subscribe: {} });
      },
      publish(id, { channel, data }) {
        if (!rooms.has(channel, tell)) return refuse(id, 103, `permission denied${" to all".repeat(100)}`);
        rooms.relay(channel, (member) => member({ push: { channel, pub: { data } } }));
        tell({ id, publish: {} });
      },
    };
    socket.on("close", () => { clearInterval(timer); rooms.leave(tell); });
    socket.on("message", (data) => {
      for (const line of data.toString().split("\n").filter(Boolean)) {
        const { id, ...command } = JSON.parse(line);
        const [name] = Object.keys(command);
        if (name) commands[name](id, command[name]);
        // An unexpected pong is a mistake of the client.
        else if (!waitsForPong) socket.close(3501, "bad request");
        else { waitsForPong = false; beats.answered += 1; }
      }
    });
  });
  return { url, stop, rooms, beats, options: [] };
}

export async function observe({ url }, channel = "bench-0") {
  const client = new Centrifuge(`${url}/connection/websocket`, { websocket: WebSocket });
  const seen = { messages: 0, leave: () => client.disconnect() };
  const subscription = client.newSubscription(channel);
  subscription.on("publication", () => { seen.messages += 1; });
  const subscribed = new Promise((resolve) => { subscription.once("subscribed", resolve); });
  subscription.subscribe();
  client.connect();
  await subscribed;
  return seen;
}
