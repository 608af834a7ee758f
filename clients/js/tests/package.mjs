/** The package as npm makes it, in a folder from which programs can import it. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
/** The folder with the tools that `tests/clients.sh` fetches with npm: TypeScript, React, esbuild and jsdom. */
export const TOOLS = process.env.THRONG_NPM_TOOLS ?? "";
export const hasTool = (name) => TOOLS !== "" && existsSync(join(TOOLS, "node_modules", name));
/** Returns which tools npm has not fetched, in words for a skipped test, or false. */
export function missing(...names) {
  const absent = names.filter((name) => !hasTool(name));
  return absent.length > 0 && `npm has not fetched ${absent.join(" and ")}`;
}

/** Packs the package and unpacks it into `node_modules` of a new folder, beside links to the tools. */
export function install() {
  const folder = mkdtempSync(join(tmpdir(), "throng-client-"));
  const modules = join(folder, "node_modules", "throng-client");
  mkdirSync(modules, { recursive: true });
  const pack = ["pack", "--silent", "--pack-destination", folder];
  const packed = execFileSync("npm", pack, { cwd: PACKAGE, encoding: "utf8" }).trim().split("\n").at(-1);
  execFileSync("tar", ["-xzf", join(folder, packed), "-C", modules, "--strip-components=1"]);
  for (const name of ["react", "react-dom", "scheduler", "ws"]) {
    if (hasTool(name)) symlinkSync(join(TOOLS, "node_modules", name), join(folder, "node_modules", name));
  }
  const files = execFileSync("tar", ["-tzf", join(folder, packed)], { encoding: "utf8" }).trim().split("\n").sort();
  return { folder, files, remove: () => rmSync(folder, { recursive: true }) };
}

/** Returns the flag with which this Node has a WebSocket, or none if it needs no flag. */
export function webSocketFlag() {
  const FLAG = "--experimental-websocket";
  return globalThis.WebSocket || !process.allowedNodeEnvironmentFlags.has(FLAG) ? [] : [FLAG];
}

/** Returns the programs of README.md in a language. */
export function programs(language) {
  const text = readFileSync(join(PACKAGE, "README.md"), "utf8");
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "gs"))].map(([, program]) => program);
}

/** Runs a tool that npm has fetched, and returns its exit code and what it said. */
export function runTool(name, argv, cwd) {
  const path = join(TOOLS, "node_modules", ".bin", name);
  const { status, stdout, stderr } = spawnSync(path, argv, { cwd, encoding: "utf8" });
  return { status, said: stdout + stderr };
}

/** Bundles the example into a folder beside the unpacked package, as its own script does. Returns that folder. */
export function build(parent) {
  const folder = join(parent, "example");
  cpSync(join(PACKAGE, "example"), folder, { recursive: true });
  const { scripts } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const [tool, ...argv] = scripts.build.split(" ");
  const { status, said } = runTool(tool, argv, folder);
  if (status !== 0) throw new Error(`${scripts.build}: ${said}`);
  return folder;
}
