/** A headless Chromium for one test, driven by WebDriver over Node's own `fetch`: no package is needed. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Returns which of the two programs are missing, in words for a skipped test, or false. */
export function missingBrowser() {
  const missing = ["chromium", "chromedriver"].filter((name) => spawnSync(name, ["--version"]).error);
  return missing.length > 0 && `there is no ${missing.join(" and no ")}`;
}

const ARGUMENTS = [
  "--headless=new",
  // Ends the browser with its driver, even if that is killed.
  "--remote-debugging-pipe",
  // A window in front must not slow down the one behind it.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--disable-dev-shm-usage",
  "--disable-gpu",
  "--no-first-run",
  // Chromium refuses to run as root with its sandbox, and tests run as root in most containers.
  ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
];

/** Starts a browser. It ends, and its files go, when the test `t` ends. */
export async function browse(t) {
  const folder = mkdtempSync(join(tmpdir(), "throng-browser-"));
  const env = { ...process.env, TMPDIR: folder };
  const driver = spawn("chromedriver", ["--port=0"], { env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => driver.once("exit", resolve));
  let session;
  t.after(async () => {
    if (session) await call("DELETE", "");
    driver.kill();
    await ended;
    // The browser ends a little later than its driver, and writes to its folder until then.
    rmSync(folder, { recursive: true, maxRetries: 50, retryDelay: 100 });
  });
  const port = await new Promise((resolve, reject) => {
    ended.then((code) => reject(new Error(`chromedriver ended with ${code}`)));
    createInterface({ input: driver.stdout }).on("line", (line) => {
      const found = /started successfully on port (\d+)/.exec(line);
      if (found) resolve(found[1]);
    });
  });

  /** Calls a command of the session, and returns its value. */
  async function call(method, command, body) {
    const answer = await fetch(`http://127.0.0.1:${port}/session${session ? `/${session}${command}` : ""}`, {
      method, body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
      headers: { "content-type": "application/json" },
    });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${command}: ${value.message}`);
    return value;
  }

  const wishes = {
    browserName: "chrome", "goog:chromeOptions": { args: ARGUMENTS }, "goog:loggingPrefs": { browser: "ALL" },
  };
  session = (await call("POST", "", { capabilities: { alwaysMatch: wishes } })).sessionId;

  return {
    /** Opens an address in a new window. */
    async open(address) {
      const { handle } = await call("POST", "/window/new", { type: "window" });
      await call("POST", "/window", { handle });
      await call("POST", "/url", { url: address });
      return page(handle);
    },
    /** Returns the warnings and errors in the consoles of the pages. */
    async complaints() {
      const lines = await call("POST", "/se/log", { type: "browser" });
      return lines.filter(({ level }) => level !== "INFO" && level !== "DEBUG").map(({ message }) => message);
    },
  };

  /** Returns the functions for one window. Windows share the session, so that only one call may run at a time. */
  function page(handle) {
    const run = async (script, ...args) => {
      await call("POST", "/window", { handle });
      return call("POST", "/execute/sync", { script, args });
    };
    return {
      run,
      /** Resolves when a script returns something true, and fails with the page's text when the test is over before. */
      async until(what, script, ...args) {
        while (!await run(script, ...args)) {
          if (t.signal.aborted) throw new Error(`no ${what} in ${await run("return document.body.innerText")}`);
          await new Promise((resolve) => setTimeout(resolve, 25));
        }
      },
      /** Presses keys in the element of a selector, as a person does. */
      async type(selector, text) {
        await call("POST", "/window", { handle });
        const element = await call("POST", "/element", { using: "css selector", value: selector });
        const [id] = Object.values(element);
        await call("POST", `/element/${id}/value`, { text });
      },
    };
  }
}
