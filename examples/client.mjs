// node client.mjs 'ws://127.0.0.1:8080/ws/chat/bob?room=lobby' (before Node 22: npm install ws)
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const WebSocket = globalThis.WebSocket ?? (await import("ws")).default;
const url = process.argv[2];
let socket, watchdog, epoch, offset, ceilingMs = 250;

function connect() {
  let advice = {}, startedAt = Date.now();
  socket = new WebSocket(url + (epoch ? `&resume=${epoch}:${offset}` : ""), ["throng.v1"]);
  socket.onerror = (error) => console.log("--", error.message || "no connection"); // onclose comes next
  socket.onmessage = ({ data }) => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => socket.close(), 60_000); // the server is never silent for so long
    const event = JSON.parse(data);
    if ("message" in event) console.log(`${event.user ?? "--"}: ${event.message}`);
    if (event.type === "heartbeat") socket.send('{"type":"heartbeat_ack"}');
    if (event.type === "disconnect") advice = event;
    if (epoch && (event.type === "gap" || event.recovered === false)) console.log("-- missed some");
    epoch = event.epoch ?? epoch;
    offset = event.offset ?? offset;
  };
  socket.onclose = ({ code, reason }) => {
    if (advice.reconnect === false || code >= 4500 || [1002, 1003, 1007, 1008].includes(code)) {
      console.log(`-- closed for good with ${code} ${reason}`);
      process.exit(1);
    }
    ceilingMs = Date.now() > startedAt + 30_000 ? 500 : Math.min(20_000, 2 * ceilingMs);
    const delayMs = advice.after_ms ?? Math.random() * ceilingMs;
    console.log(`-- reconnecting in ${Math.round(delayMs)} ms`);
    setTimeout(connect, delayMs);
  };
}

connect();
for await (const message of createInterface({ input: process.stdin })) {
  while (socket.readyState !== WebSocket.OPEN) await sleep(100);
  socket.send(JSON.stringify({ type: "message", message }));
}
