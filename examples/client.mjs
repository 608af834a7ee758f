// node client.mjs 'ws://127.0.0.1:8080/ws/chat/bob?room=lobby' (before Node 22: npm install ws)
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const WebSocket = globalThis.WebSocket ?? (await import("ws")).default;
let socket, watchdog, epoch, offset, ceilingMs = 250;

function connect() {
  let advice = {}, startedAt = Date.now();
  socket = new WebSocket(process.argv[2] + (epoch ? `&resume=${epoch}:${offset}` : ""), ["throng.v1"]);
  const lost = ({ code = 1006, reason, message = reason }) => {
    socket.onclose = socket.onerror = socket.onmessage = () => {};
    socket.close();
    clearTimeout(watchdog);
    if (advice.reconnect === false || code >= 4500 || [1002, 1003, 1007, 1008].includes(code)) {
      console.log(`-- closed for good: ${message} (${code})`);
      process.exit(1);
    }
    ceilingMs = Date.now() > startedAt + 30_000 ? 500 : Math.min(20_000, 2 * ceilingMs);
    const delayMs = advice.after_ms ?? Math.random() * ceilingMs;
    console.log(`-- reconnecting in ${Math.round(delayMs)} ms: ${message || "no connection"}`);
    setTimeout(connect, delayMs);
  };
  socket.onclose = socket.onerror = lost; // Node 22 tells of a refused connection by an error alone
  socket.onmessage = ({ data }) => {
    clearTimeout(watchdog);
    watchdog = setTimeout(lost, 60_000, { reason: "silence" }); // the server is never silent for so long
    const event = JSON.parse(data);
    if ("message" in event) console.log(`${event.user ?? "--"}: ${event.message}`);
    if (event.type === "heartbeat") socket.send('{"type":"heartbeat_ack"}');
    if (event.type === "disconnect") advice = event;
    if (epoch && (event.type === "gap" || event.recovered === false)) console.log("-- missed some");
    ({ epoch = epoch, offset = offset } = event); // those that it has
  };
}

connect();
for await (const message of createInterface({ input: process.stdin })) {
  while (socket.readyState !== WebSocket.OPEN) await sleep(100);
  socket.send(JSON.stringify({ type: "message", message }));
}
