/** A thousand clients in one program lose their server in the same instant. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Backoff } from "../../../src/web/client.js";
import { enter, serve } from "../../../tests/web/server.mjs";

const CLIENTS = 1_000, BEFORE = 3, TOTAL = 8, BASE_MS = 2_000;

test("a thousand clients come back with every message once", { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "throng-many-"));
  const settings = {
    THRONG_RATE_LIMIT__ENABLED: "false", THRONG_HISTORY__DIR: join(folder, "history"),
    THRONG_PRESENCE__NOTICE_LIMIT: "0", THRONG_PRESENCE__INTERVAL: "1h", // presence is not the subject of this test
  };
  let server = await serve(settings);
  const all = Array.from({ length: CLIENTS }, (_, n) =>
    enter(server, `user-${n}`, { backoff: new Backoff({ baseMs: BASE_MS, capMs: 4_000 }) }));
  const publisher = enter(server, "publisher");
  t.after(async () => {
    for (const { client } of [...all, publisher]) client.close();
    await server.stop("SIGKILL");
    rmSync(folder, { recursive: true });
  });
  const lost = all.map(({ client }) => new Promise((_, reject) => {
    client.on("gap", (gap) => reject(new Error(`gap ${JSON.stringify(gap)}`)));
    client.on("resumed", (resumed) => resumed.recovered || reject(new Error(JSON.stringify(resumed))));
  }));
  const complete = all.map(({ client, texts }) => new Promise((resolve) => {
    client.on("message", () => texts("lobby").length === TOTAL && resolve());
  }));
  await Promise.all([...all, publisher].map(({ client }) => client.connect()));
  const texts = Array.from({ length: TOTAL }, (_, n) => `message ${n}`);
  for (const text of texts.slice(0, BEFORE)) await publisher.client.send("lobby", text);
  await server.stop("SIGKILL");
  const sending = texts.slice(BEFORE).map((text) => publisher.client.send("lobby", text));
  server = await serve(settings, server.address);
  await Promise.all(sending);
  await Promise.race([Promise.all(complete), ...lost]);
  const tenths = Array(10).fill(0);
  for (const { texts: heard, events } of all) {
    assert.deepEqual(heard("lobby"), texts);
    const { event } = events.find(({ type, event: { name } }) => type === "state" && name === "waiting");
    assert.ok(event.delayMs <= BASE_MS, `${event.delayMs}`);
    tenths[Math.min(Math.floor(event.delayMs / BASE_MS * 10), 9)] += 1;
  }
  assert.ok(tenths.every((count) => count >= CLIENTS / 25 && count <= CLIENTS / 4), `${tenths}`);
});
