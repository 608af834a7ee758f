/** The lists and tables of the dashboard: states of figures, nodes, slow clients, shards, drops and close codes. */
import { $, make } from "./dom.js";
import { cores } from "./figures.js";
import { stateOf } from "./nodes.js";
import { draw, write } from "./plot.js";
import { overall } from "./states.js";
import { bytes, count, shares, span } from "./stats.js";

const CODES = {
  1000: "inactivity timeout", 1001: "going away", 1002: "protocol error", 1003: "binary refused",
  1007: "invalid data", 1008: "request refused", 1009: "message too big", 1011: "internal error",
  1012: "restart", 1013: "overloaded", 3000: "token expired or early", 3003: "forbidden", 3008: "heartbeat timeout",
  4001: "slow consumer", 4002: "too fast", 4003: "position lost", 4501: "replaced", 4502: "malformed input",
};
// A client may send any code; only these have a known meaning.
const CLIENT_CODES = { 1000: "normal", 1001: "went away", 1005: "no code given", 1006: "no close frame" };

/**
 * Sets the rows of a table's body. The first cell of a row is its header. The columns from `numbers` on hold numbers,
 * up to the column `texts`.
 */
function fill(body, rows, numbers, texts = Infinity) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    if (!body.rows[index]) {
      body.append(make("tr", {}, ...cells.map((_, column) => {
        const className = column >= numbers && column < texts ? "number" : "";
        const cell = make(column === 0 ? "th" : "td", { className });
        if (column === 0) cell.scope = "row";
        return cell;
      })));
    }
    cells.forEach((text, column) => write(body.rows[index].cells[column], text));
  });
}

/** Shows the judged figures: each with its value and its state as a word and a colour, and with what is to be done. */
export function renderStates(judged) {
  write($("overall"), overall(judged));
  const list = $("states");
  while (list.children.length > judged.length) list.lastChild.remove();
  judged.forEach(({ name, text, state, todo }, index) => {
    const item = list.children[index] ?? make("li", {}, ...["name", "value", "word", "todo"].map((className) => {
      return make(className === "todo" ? "p" : "span", { className });
    }));
    const className = state.replace(" ", "-");
    if (item.className !== className) item.className = className;
    [name, text, state, todo].forEach((part, column) => write(item.children[column], part));
    if (!item.isConnected) list.append(item);
  });
}

/** Makes a link to the page about a node. */
export const linkTo = (name) => make("a", { href: `?${new URLSearchParams({ node: name })}` }, name);

/** Shows the rows of all nodes; a node's name is a link to the page about it. */
export function renderNodes({ all }) {
  fill($("nodes"), all.map((node) => {
    const { now, changes } = node;
    return [
      node.is_this ? `${node.name} (this node)` : node.name, stateOf(node),
      count(now.connections), count(now.rooms), count(changes?.rates.messages), count(changes?.rates.deliveries),
      cores(changes), bytes(now.resident_bytes),
      count(now.slow_consumers_dropped), count(now.messages_dropped), count(now.refused),
      span(now.uptime_ms), `${span(node.age_ms)} ago`, node.version, node.addresses,
    ];
  }), 2, 13);
  all.forEach(({ name, is_this }, index) => {
    const cell = $("nodes").rows[index].cells[0];
    if (!cell.querySelector("a")) cell.replaceChildren(linkTo(name), is_this ? " (this node)" : "");
  });
}

/** Shows what was dropped and refused, since the start and since the first snapshot that the page has seen. */
export function renderDrops({ now, first }) {
  const row = (words, value, before) => [words, count(value), count(Math.max(0, value - before))];
  const drops = [
    ["slow consumers, 4001", "slow_consumers_dropped"], ["messages left out of queues", "messages_dropped"],
    ["rate limited", "rate_limited"], ["resumes not recovered", "not_recovered"],
  ].map(([words, name]) => row(words, now[name], first[name]));
  // Beats have the sum of all reasons alone.
  const refused = typeof now.refused === "object" ? Object.entries(now.refused).filter(([, value]) => value > 0) : [];
  fill($("drops"), [
    ...drops,
    ...refused.map(([reason, value]) => row(`refused: ${reason.replaceAll("_", " ")}`, value, first.refused[reason])),
    ...(typeof now.refused === "number" ? [row("refused", now.refused, first.refused)] : []),
  ], 1);
}

/** Shows the tables that only the node itself can fill. */
export function renderOwn({ now, changes }) {
  const slowest = now.slowest.map(({ user, connection, shard, bytes: queued, messages, age_ms }) => {
    return [user ?? "(no user)", connection, String(shard), bytes(queued), count(messages), span(age_ms)];
  });
  $("slowest-none").hidden = slowest.length > 0;
  $("slowest-frame").hidden = slowest.length === 0;
  fill($("slowest"), slowest, 2);

  const percents = shares(now.shards.map(({ connections }) => connections));
  fill($("shards"), now.shards.map((shard, index) => [
    String(index), count(shard.connections), `${percents[index]} %`,
    count(changes?.shardRates[index]), bytes(shard.queue_bytes), bytes(shard.inbox_bytes),
    shard.behind === null ? "no answer" : count(shard.behind),
  ]), 1);
  [...$("shards").rows].forEach((row, index) => showShare(row.cells[2], percents[index]));

  const closes = Object.entries(now.closes).flatMap(([by, codes]) => Object.entries(codes)
    .filter(([, value]) => value > 0)
    .map(([code, value]) => ({ code, by, value })));
  const meaning = (by, code) => (by === "server" ? CODES[code] ?? "" : CLIENT_CODES[code] ?? "chosen by the client");
  const parts = shares(closes.map(({ value }) => value));
  fill($("closes"), closes.length
    ? closes.map(({ code, by, value }, index) => [code, by, meaning(by, code), count(value), `${parts[index]} %`])
    : [["–", "–", "no connection has ended yet", "0", "–"]], 3);
}

/** Draws a share as a bar next to the number in a cell. Screen readers read the number alone. */
function showShare(cell, percent) {
  let bar = cell.querySelector("svg");
  if (!bar) {
    bar = draw("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(draw("rect", { height: 10 }));
    cell.append(bar);
  }
  bar.firstChild.setAttribute("width", percent);
}
