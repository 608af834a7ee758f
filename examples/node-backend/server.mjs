// A backend beside throng without packages. It does the same as ../fastapi, whose README says how to run it.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
const { THRONG_URL = "http://127.0.0.1:8080", THRONG_API_KEY, TOKEN_SECRET, PORT = "8000" } = process.env;
const WEBHOOK_KEY = Buffer.from(process.env.WEBHOOK_SECRET.replace("whsec_", ""), "base64");
const PASSWORDS = new Map([["alice", "wonderland"], ["bob", "builder"]]); // your own table, with hashes, belongs here
const online = new Map(), seen = new Set(); // users with the time since when; ids of the last events
const fail = (status, message) => { throw Object.assign(new Error(message), { status }); };
const sign = (key, text, encoding) => createHmac("sha256", key).update(text).digest(encoding);
const same = (a, b) => Buffer.byteLength(a) === Buffer.byteLength(b) && timingSafeEqual(Buffer.from(a), Buffer.from(b));
const jwt = (...parts) => parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
async function throng(path, body) {
  const headers = { "X-API-Key": THRONG_API_KEY, "Content-Type": "application/json" };
  const options = { headers, ...(body && { method: "POST", body: JSON.stringify(body) }) };
  const { result, error } = await (await fetch(`${THRONG_URL}/api/${path}`, options)).json();
  return result ?? fail(502, error.message);
}
function userOf({ authorization = "" }) {
  const [, signed, claims, signature] = /^Bearer (\S+\.(\S+))\.(\S+)$/.exec(authorization) ?? fail(401, "log in first");
  const { sub, exp } = JSON.parse(Buffer.from(claims, "base64url"));
  const isGood = same(signature, sign(TOKEN_SECRET, signed, "base64url")) && exp > Date.now() / 1_000;
  return isGood ? sub : fail(401, "log in again");
}
async function readUsers(after = "", found = []) {
  const { users, next } = await throng(`users?limit=1000${after}`);
  if (next) return readUsers(`&after=${encodeURIComponent(next)}`, [...found, ...users]);
  const rows = [...found, ...users].map((user) => [user, online.get(user) ?? Date.now()]);
  online.clear();
  for (const [user, since] of rows) online.set(user, since);
}
const CALLS = {
  "POST /login"({ body: { name, password } }) { // for new WebSocket(url, ["throng.v1", "bearer", token])
    if (!PASSWORDS.has(name) || !same(PASSWORDS.get(name), String(password))) fail(401, "wrong name or password");
    const signed = jwt({ alg: "HS256" }, { sub: name, exp: Math.floor(Date.now() / 1_000) + 3_600 });
    return { token: `${signed}.${sign(TOKEN_SECRET, signed, "base64url")}` };
  },
  "POST /announce": ({ headers, body: { room, text } }) =>
    userOf(headers) === "alice" ? throng("publish", { room, message: text }) : fail(403, "only admins announce"),
  async "POST /throng"({ headers, raw, body: { events } }) { // signed as Standard Webhooks are, perhaps several times
    const { "webhook-id": name, "webhook-timestamp": at, "webhook-signature": given = "" } = headers;
    const expected = `v1,${sign(WEBHOOK_KEY, `${name}.${at}.${raw}`, "base64")}`;
    if (!given.split(" ").some((one) => same(one, expected))) fail(401, "not signed");
    if (!(Math.abs(Date.now() / 1_000 - at) <= 300)) fail(401, "too old"); // somebody may have recorded it
    for (const { id, type, user, at_ms } of events.filter((event) => !seen.has(event.id))) { // at least once
      if (type === "user_online") online.set(user, at_ms);
      else if (type === "user_offline") online.delete(user);
      else if (type === "resync") await readUsers(); // events may be missing
      if (seen.add(id).size > 10_000) seen.delete(seen.values().next().value);
    }
  },
  "GET /online": () => ({ online: Object.fromEntries(online) }),
};
createServer(async (request, response) => {
  try {
    let raw = "";
    for await (const text of request.setEncoding("utf8")) if ((raw += text).length > 524_288) fail(413, "too long");
    const call = CALLS[`${request.method} ${request.url}`] ?? (() => fail(404, "nothing here"));
    response.end(JSON.stringify((await call({ headers: request.headers, raw, body: raw && JSON.parse(raw) })) ?? {}));
  } catch (error) { response.statusCode = error.status ?? 400; response.end(JSON.stringify({ error: error.message })); }
}).listen(PORT, "127.0.0.1", function () { console.log(`running on http://127.0.0.1:${this.address().port}`); });
