/**
 * The dashboard: takes the server's snapshots and shows them. Texts become text nodes, never HTML.
 *
 * Without an engine the page is about the node that sends the stream. With one it is about all nodes, or with
 * `?node=NAME` in its address about one of them.
 */
import { Control } from "./control.js";
import { $, make } from "./dom.js";
import { contents, download, nameOf } from "./export.js";
import { keyOfTab, start } from "./feed.js";
import { FACTS, PLOTS } from "./figures.js";
import { Nodes, choose, dashboardOf } from "./nodes.js";
import { POINTS, Plot, write } from "./plot.js";
import { Recent, judge } from "./states.js";
import { Series, compare, samplesOf } from "./stats.js";
import { linkTo, renderDrops, renderNodes, renderOwn, renderStates } from "./tables.js";

/** The name of the node that the page is about; null for all nodes. */
const WANTED = new URLSearchParams(location.search).get("node") || null;

const control = new Control(keyOfTab);
const nodes = new Nodes();
const recent = new Recent();
const times = new Series(POINTS);
const plots = PLOTS.map((options, index) => new Plot(options, index, times, schedule));
$("plots").append(...plots.map(({ figure }) => figure));

/** The numbers that the page shows, the last snapshot, and the first one of the same process; null before it comes. */
let view = null;
let last = null;
let first = null;
let changes = null;
let lastAt = 0;
/** The last five minutes as the server has kept them, until the first snapshot shows where they end. */
let past = null;
/** The kind of view that the page is laid out for, and its facts with the elements that show them. */
let layout = null;
let facts = [];
let isLocked = false;
let isDue = false;

/** Lays the page out for a kind of view: shows the sections that it has, and makes its list of facts. */
function layOut(kind) {
  if (layout === kind) return;
  layout = kind;
  for (const section of document.querySelectorAll("[data-views]")) {
    section.hidden = !section.dataset.views.split(" ").includes(kind);
  }
  plots.forEach(({ figure, isOwnAlone }) => { figure.hidden = isOwnAlone && kind !== "own"; });
  facts = (FACTS[kind] ?? []).map(([name, text]) => {
    const value = make("dd", {}, "–");
    return { text, value, row: make("div", {}, make("dt", {}, name), value) };
  });
  $("facts").replaceChildren(...facts.map(({ row }) => row));
}

/** Shows where the page is, and the way to other nodes. */
function renderWay({ kind, node }) {
  $("way").hidden = !last.nodes || (kind !== "own" && kind !== "other");
  write($("subject"), kind === "own" ? `Node ${last.node}` : `Node ${node?.name}, seen from node ${last.node}`);
  const href = kind === "other" ? dashboardOf(node, location.hostname) : null;
  $("elsewhere").hidden = href === null;
  if (href !== null) $("elsewhere").href = href;
  const known = last.nodes?.map(({ name }) => name) ?? [last.node];
  const problem = kind === "unknown" ? `No node is called ${WANTED}. These nodes are known: ${known.join(", ")}` : "";
  if ($("unknown").textContent === problem) return;
  const links = known.flatMap((name, index) => [index ? ", " : "", linkTo(name)]);
  $("unknown").replaceChildren(...(problem ? [problem.slice(0, -known.join(", ").length), ...links] : []));
}

/** Adds a point to the curves; `now` and `news` are null for a gap. */
function point(at, now, news) {
  times.push(at);
  plots.forEach((plot) => plot.take(now, news));
}

/** Adds the gap before a snapshot or sample that comes so many seconds after the last one. */
function gap({ started_ms, uptime_ms }, seconds) {
  const missed = last ? Math.min(POINTS, Math.round(seconds) - 1) : 0;
  // The times are the server's, as in its log.
  for (let second = missed; second > 0; second -= 1) point(started_ms + uptime_ms - 1_000 * second, null, null);
}

/** Draws what the server has kept of the time before a snapshot. The other nodes have kept theirs. */
function drawPast(snapshot) {
  const samples = past && choose(snapshot, WANTED) === "own" ? samplesOf(past, last, snapshot) : [];
  past = null;
  for (const sample of samples) {
    const news = last && compare(last, sample);
    gap(sample, news?.seconds ?? (performance.now() - lastAt) / 1_000);
    point(sample.started_ms + sample.uptime_ms, sample, news);
    [last, lastAt] = [sample, performance.now()];
  }
}

function take(snapshot) {
  drawPast(snapshot);
  const at = performance.now();
  changes = last && compare(last, snapshot);
  // The same snapshot again, from the same server and moment.
  if (last && !changes && last.started_ms === snapshot.started_ms && last.uptime_ms === snapshot.uptime_ms) return;
  // The time between snapshots is measured by the server's clock, so that snapshots that arrive late together leave no
  // gap; after a restart of the server, it is measured by the clock of this page.
  gap(snapshot, changes ? changes.seconds : (at - lastAt) / 1_000);
  if (!first || first.started_ms !== snapshot.started_ms) first = snapshot;
  last = snapshot;
  lastAt = at;
  nodes.take(snapshot.nodes ?? []);
  view = { ...look(), all: nodes.all, last };
  recent.take(view);
  point(snapshot.started_ms + snapshot.uptime_ms, view.now, view.changes);
  schedule();
}

/** Returns the numbers that the page shows: of the node that sends the feed, of another one, of all, or of none. */
function look() {
  const kind = choose(last, WANTED);
  if (kind === "own") return { kind, now: last, changes, first };
  if (kind === "all") return { kind, ...nodes.sums() };
  const node = nodes.all.find(({ name }) => name === WANTED);
  return node ? { kind, node, ...node } : { kind, now: null, changes: null };
}

/** Draws with the next frame. A hidden page has no frames and is drawn when it is shown again. */
function schedule() {
  if (isDue || !view) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    if (!isLocked) render();
  });
}

/** Draws the page. Nothing in here asks the browser for a size or a place, so that it lays the page out once. */
function render() {
  layOut(view.kind);
  renderWay(view);
  const isUnknown = view.kind === "unknown";
  $("numbers").hidden = isUnknown;
  $("export").hidden = isUnknown;
  if (isUnknown) return;
  renderStates(judge(view, recent));
  for (const { text, value } of facts) write(value, text(view));
  if (view.kind === "own") renderOwn(view);
  if (view.kind === "all") renderNodes(view);
  if (view.first) renderDrops(view);
  plots.forEach((plot) => plot.render());
}

$("export").addEventListener("click", () => {
  const now = new Date();
  const subject = view.kind === "all" ? "all-nodes" : WANTED ?? last.node;
  const curves = plots.filter(({ figure }) => !figure.hidden).flatMap((plot) => plot.samples());
  const { node, version } = last;
  const page = { node, version, subject, figures: judge(view, recent), times: times.values, curves };
  download(contents(page, now), nameOf(subject, now));
});

start({
  take,
  takePast: (history) => { past = history; },
  onOpen: () => {
    isLocked = false;
    control.toggle(true);
  },
  onLocked: () => {
    isLocked = true;
    for (const id of ["numbers", "export", "way"]) $(id).hidden = true;
    control.toggle(false);
    $("unknown").replaceChildren();
  },
});
