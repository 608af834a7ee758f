/** Starts the real server, named by `THRONG_BINARY`, as a child process. */
import { spawn } from "node:child_process";
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import { Backoff, Client } from "../../src/web/client.js";
import { Socket } from "./socket.mjs";

globalThis.crypto ??= webcrypto; // Node 18 has no global crypto

/** Longest wait for an event: much longer than a slow machine under load needs. */
const PATIENCE_MS = 20_000;

/** Starts a server and resolves when it listens. `settings` are environment variables. */
export async function serve(settings = {}, listen = "127.0.0.1:0") {
  const child = spawn(process.env.THRONG_BINARY, ["serve", "--listen", listen, "--log-format", "json"], {
    env: { ...settings }, stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const address = await new Promise((resolve, reject) => {
    ended.then((code) => reject(new Error(`the server ended with ${code}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      const { message, address } = JSON.parse(line);
      if (message === "listening") resolve(address);
    });
  });
  return {
    address,
    url: `http://${address}/`,
    /** Stops the server: SIGTERM tells its clients, SIGKILL does not. */
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      await ended;
    },
  };
}

/** Returns a client with short delays, and functions that read its events. */
export function enter(server, user, options = {}) {
  const backoff = new Backoff({ baseMs: 20, capMs: 200 });
  const client = new Client({ user, room: "lobby", url: server.url, WebSocket: Socket, backoff, ...options });
  const events = [];
  const waiting = new Set();
  const types = ["state", "message", "direct", "resumed", "gap", "presence_diff", "typing", "limited", "error"];
  for (const type of types) {
    client.on(type, (event) => {
      events.push({ type, event });
      for (const wake of waiting) wake();
    });
  }
  /** Resolves with the first event of a type that `matches`, whether it has arrived already or arrives later. */
  const told = (type, matches = () => true) => new Promise((resolve, reject) => {
    const look = () => {
      const found = events.find((entry) => entry.type === type && matches(entry.event));
      if (!found) return;
      clearTimeout(timer);
      waiting.delete(look);
      resolve(found.event);
    };
    const timer = setTimeout(() => {
      waiting.delete(look);
      reject(new Error(`${user} was not told ${type}, but ${JSON.stringify(events)}`));
    }, PATIENCE_MS);
    waiting.add(look);
    look();
  });
  const texts = (room) => events
    .filter(({ type, event }) => type === "message" && event.room === room)
    .map(({ event }) => event.message);
  return { client, events, told, texts };
}
