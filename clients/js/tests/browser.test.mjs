/** The example with a bundler in a real browser: two pages talk, and the server is killed between them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../../../tests/web/server.mjs";
import { build, install, missing } from "./package.mjs";
import { browse, missingBrowser } from "./webdriver.mjs";

const skip = missing("esbuild", "react", "react-dom") || missingBrowser();
const TYPES = { "/": "text/html", "/dist/main.js": "text/javascript" };

let it;
before(() => { it = install(); });
after(() => it.remove());

/** Bundles the example and serves it, as any web server would. Returns its origin. */
async function example(t) {
  const folder = build(it.folder);
  const web = createServer(({ url }, response) => {
    const path = url.split("?")[0];
    if (!(path in TYPES)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[path] });
    response.end(readFileSync(join(folder, path === "/" ? "index.html" : path)));
  });
  await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
  t.after(() => { web.close(); web.closeAllConnections(); });
  return `http://127.0.0.1:${web.address().port}`;
}

/** A person with a page of the example. */
class Person {
  #page;

  static async enter(browser, origin, server, user) {
    const person = new Person();
    const query = new URLSearchParams({ user, server: server.url });
    person.#page = await browser.open(`${origin}/?${query}`);
    await person.sees("connected");
    return person;
  }

  sees(text) {
    return this.#page.until(JSON.stringify(text), "return document.body.innerText.includes(arguments[0])", text);
  }

  async says(text) {
    await this.#page.type("input", `${text}\n`);
  }

  /** Resolves when the list of messages is this one, in this order and without repetitions. */
  async reads(lines) {
    const list = "return [...document.querySelectorAll('li')].map((line) => line.innerText)";
    await this.#page.until(lines.at(-1), `${list}.includes(arguments[0])`, lines.at(-1));
    assert.deepEqual(await this.#page.run(list), lines);
    assert.ok(!await this.#page.run("return document.body.innerText.includes('messages are missing')"));
  }
}

const LIMIT = { timeout: 120_000, skip };

test("two pages with the bundle talk, and lose nothing when the server is killed", LIMIT, async (t) => {
  const origin = await example(t);
  const settings = {
    THRONG_RATE_LIMIT__ENABLED: "false",
    THRONG_HISTORY__DIR: join(it.folder, "history"),
    // A page that comes from elsewhere needs its origin there, and README.md says so.
    THRONG_ADMISSION__ORIGINS: origin,
  };
  let server = await serve(settings);
  t.after(() => server.stop("SIGKILL"));
  const browser = await browse(t);
  const alice = await Person.enter(browser, origin, server, "alice");
  const bob = await Person.enter(browser, origin, server, "bob");
  await alice.sees("2 here");
  await bob.sees("2 here");
  const lines = [];
  const both = async () => { await alice.reads(lines); await bob.reads(lines); };
  const said = (person, text) => lines.push(`${person} ${text}`);

  await alice.says("hello bob");
  said("alice", "hello bob");
  await both();
  await bob.says("hello <b>alice</b>");
  said("bob", "hello <b>alice</b>");
  await both();
  for (const round of [1, 2]) {
    await server.stop("SIGKILL");
    await alice.sees("back in");
    await alice.says(`while it is away ${round}`);
    server = await serve(settings, server.address);
    said("alice", `while it is away ${round}`);
    await both();
    await bob.says(`after ${round}`);
    said("bob", `after ${round}`);
    await both();
    await alice.sees("2 here");
  }
  // A newcomer has nothing but what the server kept over both kills.
  const carol = await Person.enter(browser, origin, server, "carol");
  await carol.reads(lines);
  const isExpected = (message) => /WebSocket connection to 'ws:.*ERR_CONNECTION_REFUSED|favicon\.ico/.test(message);
  assert.deepEqual((await browser.complaints()).filter((message) => !isExpected(message)), []);
});
