/** The real server, as a child process. `THRONG_BINARY` names it. */
import { spawn } from "node:child_process";
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import { Backoff, Client } from "../../src/web/client.js";
import { Socket } from "./socket.mjs";

globalThis.crypto ??= webcrypto; // Node 18 has it, but not under its name

/** Longest wait for anything that must happen: far above what a slow machine under load needs. */
const PATIENCE_MS = 20_000;

/** Starts a server; resolves once it listens. `settings` as environment variables. */
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
    /** SIGTERM: everybody is told. SIGKILL: nobody is. */
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      await ended;
    },
  };
}

/** A client whose delays are short, and what it has told so far. */
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
  /** The first event of a type, past or to come, that `matches`. */
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
