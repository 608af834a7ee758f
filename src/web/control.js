/**
 * The part of the dashboard that does things: lists rooms and users, shows one of them, and lets the operator publish a
 * notice, end connections and forget a room. Everything is a call of the server API with the key of the tab.
 */
import { make } from "./dom.js";
import { write } from "./plot.js";
import { count, span } from "./stats.js";

const PAGE = 100; // rows that one call returns
const NOTICES = 20; // messages of a room that are shown
const SURE_MS = 5_000; // time within which a second press confirms

const $ = (id) => document.getElementById(id);

/** Builds the path of a call that reads. Parameters without a value are left out. */
export function pathOf(parts, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  const path = `api/${parts.map(encodeURIComponent).join("/")}`;
  return query.size > 0 ? `${path}?${query}` : path;
}

/** Makes a call: a GET, or with a body a POST. Returns its result; throws an error whose message is for people. */
export async function call(path, key, body) {
  const headers = { Authorization: `Bearer ${key}` };
  const options = { headers, cache: "no-store", credentials: "omit" };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.result) return answer.result;
  throw new Error(answer?.error?.message ?? `the server answers ${response.status}`);
}

/** The controls of the page. `keyOf` returns the key of the tab. */
export class Control {
  #keyOf;
  /** The room or user whose details are shown: `{ kind: "room" | "user", name }`, or null. */
  #shown = null;

  constructor(keyOf) {
    this.#keyOf = keyOf;
    for (const kind of ["rooms", "users"]) {
      $(`${kind}-form`).addEventListener("submit", (event) => {
        event.preventDefault();
        this.#list(kind, null);
      });
      $(`${kind}-more`).addEventListener("click", () => this.#list(kind, $(`${kind}-more`).dataset.next));
    }
    $("user-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#show("user", $("user-name").value.trim());
    });
    $("notice-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
    this.#confirmed($("forget"), () => this.#act("forget", { room: this.#shown.name }, () => "The room is forgotten."));
    this.#confirmed($("kick"), () => this.#act("disconnect", { user: this.#shown.name },
      ({ closed }) => `${count(closed)} connections were ended.`));
    $("detail-close").addEventListener("click", () => this.#hide());
  }

  /** Shows or hides the controls. Lists and details do not outlive the key. */
  toggle(isOpen) {
    if ($("control").hidden === !isOpen) return;
    $("control").hidden = !isOpen;
    if (isOpen) return;
    for (const kind of ["rooms", "users"]) this.#fill(kind, [], null);
    this.#hide();
    this.#say("");
  }

  #call(path, body) { return call(path, this.#keyOf() ?? "", body); }

  #say(text, isError = false) {
    $("control-state").className = isError ? "error" : "hint";
    write($("control-state"), text);
  }

  /** Runs something that calls the API, and shows why it failed. */
  async #try(run) {
    try {
      await run();
    } catch (error) {
      this.#say(error.message, true);
    }
  }

  #list(kind, after) {
    return this.#try(async () => {
      const pattern = kind === "rooms" ? $("rooms-pattern").value.trim() : null;
      const found = await this.#call(pathOf([kind], { pattern, after, limit: PAGE }));
      const [rows, missing] = [found[kind], found.unanswered ?? []];
      this.#fill(kind, rows, found.next, Boolean(after));
      const silent = missing.length ? ` Without the nodes that did not answer: ${missing.join(", ")}.` : "";
      this.#say(`${$(kind).rows.length} ${kind} are listed.${silent}`);
    });
  }

  #fill(kind, rows, next, isMore = false) {
    const cells = kind === "rooms" ? this.#roomCells : this.#userCells;
    const items = rows.map((row) => make("tr", {}, ...cells.call(this, row)));
    if (isMore) $(kind).append(...items);
    else $(kind).replaceChildren(...items);
    $(`${kind}-frame`).hidden = $(kind).rows.length === 0;
    $(`${kind}-more`).hidden = !next;
    $(`${kind}-more`).dataset.next = next ?? "";
  }

  #roomCells({ room, members, offset }) {
    return [this.#link("room", room), make("td", { className: "number" }, count(members)),
      make("td", { className: "number" }, count(offset))];
  }

  #userCells(user) { return [this.#link("user", user)]; }

  #link(kind, name) {
    const button = make("button", { className: "link", type: "button" }, name);
    button.addEventListener("click", () => this.#show(kind, name));
    return make("th", { scope: "row" }, button);
  }

  #show(kind, name) {
    return this.#try(async () => {
      const rows = kind === "room" ? await this.#room(name) : await this.#user(name);
      this.#shown = { kind, name };
      write($("detail-title"), `${kind === "room" ? "Room" : "User"} ${name}`);
      $("detail-facts").replaceChildren(...rows.map(([term, ...values]) => {
        return make("div", {}, make("dt", {}, term), make("dd", {}, ...values));
      }));
      $("notice-form").hidden = kind !== "room";
      $("forget").hidden = kind !== "room";
      $("kick").hidden = kind !== "user";
      $("detail").hidden = false;
      this.#say("");
      $("detail-title").focus();
    });
  }

  async #room(name) {
    const room = await this.#call(pathOf(["rooms", name]));
    const { users, more } = await this.#call(pathOf(["rooms", name, "presence"], { limit: PAGE }));
    const { messages } = await this.#call(pathOf(["rooms", name, "history"], { limit: NOTICES }));
    const people = users.flatMap((user, index) => [index ? " " : "", this.#inline("user", user)]);
    const said = messages.map(({ user, message }) => make("li", {}, make("b", {}, user), ` ${message}`));
    return [
      ["Members", count(room.members)], ["Last offset", count(room.offset)], ["Epoch", room.epoch],
      ["Who is there", ...(people.length ? people : ["nobody"]), more ? " and more" : ""],
      ["Last messages", said.length ? make("ol", { className: "last-said" }, ...said) : "none"],
    ];
  }

  async #user(name) {
    const { connections } = await this.#call(pathOf(["users", name]));
    if (connections.length === 0) return [["Connections", "none: this user is offline"]];
    return connections.map(({ connection, since_ms, dialect, rooms }) => [
      connection, `${dialect}, for ${span(Math.max(0, Date.now() - since_ms))}, in `,
      ...(rooms.length ? rooms.flatMap((room, index) => [index ? " " : "", this.#inline("room", room)]) : ["no room"]),
    ]);
  }

  #inline(kind, name) { return this.#link(kind, name).firstChild; }

  #hide() {
    this.#shown = null;
    $("detail").hidden = true;
    $("detail-facts").replaceChildren();
  }

  #publish() {
    return this.#try(async () => {
      // The key makes a second press after a lost answer harmless.
      const message = $("notice-text").value;
      const form = $("notice-form");
      form.dataset.key ||= crypto.randomUUID?.() ?? String(Math.random());
      await this.#call("api/publish", { room: this.#shown.name, message, key: form.dataset.key });
      delete form.dataset.key;
      $("notice-text").value = "";
      await this.#show("room", this.#shown.name);
      this.#say("The notice is published.");
    });
  }

  #act(method, body, words) {
    return this.#try(async () => {
      const result = await this.#call(`api/${method}`, body);
      const { kind, name } = this.#shown;
      if (method === "forget") this.#hide();
      else await this.#show(kind, name);
      this.#say(words(result));
    });
  }

  /** Lets a button act at its second press; the first one asks whether it is meant. */
  #confirmed(button, run) {
    const words = button.textContent;
    let timer;
    const reset = () => {
      clearTimeout(timer);
      button.textContent = words;
      button.classList.remove("sure");
    };
    button.addEventListener("click", () => {
      if (button.classList.contains("sure")) {
        reset();
        run();
        return;
      }
      button.classList.add("sure");
      button.textContent = "Press again to confirm";
      timer = setTimeout(reset, SURE_MS);
    });
    button.addEventListener("blur", reset);
  }
}
