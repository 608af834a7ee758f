/** The curves and the facts of the dashboard: their names, and functions from the numbers to a value or a text. */
import { stateOf } from "./nodes.js";
import { bytes, count, micros, span } from "./stats.js";

const LEAST_US = 10; // lower end of the scale of latencies

const rate = (name) => (_, changes) => changes?.rates[name];
const dropped = (reason) => (_, changes) => changes && changes.drops[reason] / changes.seconds;
const latency = (index) => (_, changes) => changes?.latency[index];
const perSecond = (value) => `${count(value)}/s`;

/**
 * The plots. A curve is its name and a function from a snapshot and the changes since the one before to a value. `unit`
 * is that of the values, for the export.
 */
export const PLOTS = [
  {
    title: "Connections", unit: "number", format: count,
    curves: [["connections", (now) => now.connections], ["rooms", (now) => now.rooms]],
  },
  {
    title: "Messages per second", unit: "messages/s", format: perSecond,
    curves: [["received", rate("messages")]],
  },
  {
    title: "Deliveries per second", unit: "number/s", format: perSecond,
    curves: [["delivered", rate("deliveries")], ["writes", rate("writes")]],
  },
  {
    title: "Fan-out latency", unit: "microseconds", format: micros, least: LEAST_US, isLogarithmic: true,
    isOwnAlone: true,
    curves: [["p50", latency(0)], ["p90", latency(1)], ["p99", latency(2)]],
  },
  {
    title: "Queued for clients", unit: "bytes", format: bytes, least: 1024, base: 1024,
    curves: [["in queues", (now) => now.queue_bytes]],
  },
  {
    title: "Sent", unit: "bytes/s", format: (value) => `${bytes(value)}/s`, least: 1024, base: 1024,
    curves: [["bytes", rate("bytes_sent")]],
  },
  {
    title: "Drops per second", unit: "number/s", format: perSecond,
    curves: ["slow consumers", "messages left out", "rate limited", "refused"]
      .map((reason) => [reason, dropped(reason)]),
  },
  {
    title: "CPU", unit: "cores", format: (value) => `${count(value)} cores`, least: 0.1,
    curves: [["in use", (_, changes) => changes?.cpu]],
  },
  {
    title: "Memory", unit: "bytes", format: bytes, least: 1 << 20, base: 1024,
    curves: [["resident", (now) => now.resident_bytes]],
  },
];

/** Formats the CPU time of changes as a number of cores. */
export const cores = (changes) => (changes ? `${count(changes.cpu)} cores` : "–");

const partOf = (part, whole) => `${count(part)} of ${count(whole)}`;
const LOAD = [
  ["Connections", ({ now }) => partOf(now.connections, now.max_connections)],
  ["Rooms", ({ now }) => count(now.rooms)],
  ["Messages", ({ changes }) => perSecond(changes?.rates.messages)],
  ["Deliveries", ({ changes }) => perSecond(changes?.rates.deliveries)],
  ["Queued", ({ now }) => bytes(now.queue_bytes)],
];
const PROCESS = [["Memory", ({ now }) => bytes(now.resident_bytes)], ["CPU", ({ changes }) => cores(changes)]];
const RESUMES = ["Resumes recovered", ({ now }) => partOf(now.recovered, now.recovered + now.not_recovered)];
const UPTIME = ["Uptime", ({ now }) => span(now.uptime_ms)];

/** The facts of each view: names, and functions from a view to a text. */
export const FACTS = {
  own: [
    ...LOAD,
    ["Behind", ({ now }) => count(now.shards.reduce((sum, { behind }) => sum + (behind ?? 0), 0))],
    RESUMES, ...PROCESS, UPTIME,
    ["Node", ({ now }) => now.node],
    ["Version", ({ now }) => now.version],
    ["Dashboard viewers", ({ now }) => count(now.viewers)],
  ],
  all: [
    ...LOAD, ...PROCESS,
    ["Live nodes", ({ all }) => partOf(all.filter(({ is_live }) => is_live).length, all.length)],
    ["Shown by", ({ last }) => last.node],
    ["Dashboard viewers", ({ last }) => count(last.viewers)],
  ],
  other: [
    ...LOAD, RESUMES, ...PROCESS, UPTIME,
    ["Node", ({ node }) => node.name],
    ["Version", ({ node }) => node.version],
    ["Address", ({ node }) => node.addresses],
    ["State", ({ node }) => stateOf(node)],
    ["Last beat", ({ node }) => `${span(node.age_ms)} ago`],
  ],
};
