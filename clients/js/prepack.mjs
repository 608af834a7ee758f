/** Copies what the package shares with the server into this folder: `npm pack` and `npm publish` run it first. */
import { copyFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
// The server serves the same file at /client.js. There is no second copy in the repository.
copyFileSync(at("../../src/web/client.js"), at("client.js"));
for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(at(`../../${name}`), at(name));
