/** The package as its users get it: its files, its types, the newcomer's lines, and the example with a bundler. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { enter, serve } from "../../../tests/web/server.mjs";
import { build, install, missing, PACKAGE, programs, runTool, TOOLS, webSocketFlag } from "./package.mjs";

const LIMIT = { timeout: 120_000 };
const skipUnless = (...names) => ({ ...LIMIT, skip: missing(...names) });
const UNLIMITED = { THRONG_RATE_LIMIT__ENABLED: "false", THRONG_DRAIN__WINDOW: "100ms" };

let it;
before(() => { it = install(); });
after(() => it.remove());

test("it has the server's client, its types, the hook and the licences", () => {
  const wanted = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "client.d.ts", "client.js", "package.json",
    "react.d.ts", "react.js", "room-store.js"];
  assert.deepEqual(it.files, wanted.map((name) => `package/${name}`));
  const packed = readFileSync(join(it.folder, "node_modules/throng-client/client.js"), "utf8");
  assert.equal(packed, readFileSync(join(PACKAGE, "../../src/web/client.js"), "utf8"));
});

test("the declarations are those of the client, and programs keep to them", skipUnless("typescript"), () => {
  const { status, said } = runTool("tsc", ["-p", join(PACKAGE, "tests/tsconfig.json")], TOOLS);
  assert.equal(status, 0, said);
});

test("a wrong declaration is noticed", skipUnless("typescript"), () => {
  const folder = join(it.folder, "wrong");
  for (const path of ["clients/js", "src/web"]) {
    cpSync(join(PACKAGE, "../..", path), join(folder, path), { recursive: true });
  }
  const file = join(folder, "clients/js/client.d.ts");
  const wrong = readFileSync(file, "utf8").replace("leave(name: string)", "leave(name: string, why: string)");
  writeFileSync(file, wrong);
  const { status, said } = runTool("tsc", ["-p", join(folder, "clients/js/tests/tsconfig.json")], TOOLS);
  assert.notEqual(status, 0, said);
});

/** Runs a program of the package's user. Its lines come from `line()`. */
function run(t, program) {
  const file = join(it.folder, "program.mjs");
  // Node before 20 has no WebSocket, not even with a flag.
  const fallback = 'globalThis.WebSocket ??= (await import("ws")).default;\n';
  writeFileSync(file, (webSocketFlag().length || globalThis.WebSocket ? "" : fallback) + program);
  const argv = [...webSocketFlag(), "--no-warnings", file];
  const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => (await lines.next()).value;
}

test("the first program loses nothing when the server is killed", LIMIT, async (t) => {
  const folder = join(it.folder, "history");
  const settings = { ...UNLIMITED, THRONG_HISTORY__DIR: folder };
  let server = await serve(settings);
  t.after(() => server.stop("SIGKILL"));
  const [program] = programs("js");
  assert.ok(program.trim().split("\n").length <= 10 && program.includes("http://127.0.0.1:8080"), program);
  const line = run(t, program.replace("http://127.0.0.1:8080", `http://${server.address}`));
  assert.equal(await line(), "alice: hi");
  const bob = enter(server, "bob");
  t.after(() => bob.client.close());
  await bob.client.connect();
  await bob.client.send("lobby", "before");
  assert.equal(await line(), "bob: before");
  for (const round of [1, 2, 3]) {
    await server.stop("SIGKILL");
    const waiting = bob.client.send("lobby", `while it is away ${round}`);
    server = await serve(settings, server.address);
    await waiting;
    await bob.client.send("lobby", `after ${round}`);
    assert.deepEqual([await line(), await line()], [`bob: while it is away ${round}`, `bob: after ${round}`]);
  }
});

test("the example is bundled and shows a room", skipUnless("esbuild", "react", "react-dom", "jsdom"), async (t) => {
  const folder = build(it.folder);
  const server = await serve(UNLIMITED);
  t.after(() => server.stop("SIGKILL"));
  const bob = enter(server, "bob");
  t.after(() => bob.client.close());
  await bob.client.connect();
  await bob.client.send("lobby", "said before");
  const { JSDOM } = await import(join(TOOLS, "node_modules/jsdom/lib/api.js"));
  const html = readFileSync(join(folder, "index.html"), "utf8").replace(/<script.*<\/script>/, "");
  const url = `http://${server.address}/?user=alice&server=${encodeURIComponent(server.url)}`;
  const page = new JSDOM(html, { url, runScripts: "outside-only", pretendToBeVisual: true });
  t.after(() => page.window.close());
  // jsdom runs no modules; the bundle is a single one without imports.
  page.window.eval(`(() => {${readFileSync(join(folder, "dist/main.js"), "utf8")}})()`);
  const { document, MutationObserver } = page.window;
  const shown = (text) => new Promise((resolve, reject) => {
    const look = () => document.body.textContent.includes(text) && resolve(observer.disconnect());
    const observer = new MutationObserver(look);
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    t.signal.addEventListener("abort", () => reject(new Error(`no ${text} in ${document.body.innerHTML}`)));
    look();
  });
  await shown("connected");
  await shown("said before");
  await shown("2 here");
  await bob.client.send("lobby", "said now");
  await shown("said now");
  const input = document.querySelector("input");
  const { set } = Object.getOwnPropertyDescriptor(page.window.HTMLInputElement.prototype, "value");
  set.call(input, "from the page"); // as a keyboard does, past React's own property
  input.dispatchEvent(new page.window.Event("input", { bubbles: true }));
  document.querySelector("form").dispatchEvent(new page.window.Event("submit", { bubbles: true, cancelable: true }));
  await bob.told("message", ({ user, message }) => user === "alice" && message === "from the page");
  await shown("from the page");
});
