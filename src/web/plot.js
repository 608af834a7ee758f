/** Draws the curves of the dashboard as SVG with a time axis, and reads their values where the user points. */
import { make, oncePerFrame } from "./dom.js";
import { Series, ceiling, clock } from "./stats.js";

/** Most points of a curve, one per second: five minutes. */
export const POINTS = 300;
const MINUTES = POINTS / 60;
const MAX_LINES = 8; // lines of a plot's grid
const AXIS_PX = 30; // height of the time axis below the curves
const TICK_PX = 80; // least distance of two labelled ticks, so that their times do not touch
const SVG = "http://www.w3.org/2000/svg";

/** The keys that move the reading, and by how many seconds towards the past. */
const STEPS = {
  ArrowLeft: 1, ArrowDown: 1, ArrowRight: -1, ArrowUp: -1, PageDown: 30, PageUp: -30, Home: POINTS, End: -POINTS,
};

/** Makes an SVG element. */
export function draw(tag, attributes = {}) {
  return set(document.createElementNS(SVG, tag), attributes);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Changes the text of an element only if it differs, so that the browser does not lay it out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A plot. Its options are those of `PLOTS` in figures.js. */
export class Plot {
  #options; #curves; #chart; #lines; #scale; #ticks; #cursor; #head; #times;
  #width = 0;
  #height = 0;
  /** The seconds between the newest sample and the one that is read; null while none is read. */
  #ago = null;
  /** True while the reading stays with its sample, as the keys do it; false while it stays under the pointer. */
  #isHeld = false;
  #drawReading = oncePerFrame(() => this.#read());

  /**
   * @param {Series} times The times of all samples, which the plots share, in milliseconds since the Unix epoch.
   * @param {() => void} onResize Called when the plot has another size and must be drawn again.
   */
  constructor(options, index, times, onResize) {
    this.#options = options;
    this.#times = times;
    const { title, curves } = options;
    const lines = Array.from({ length: MAX_LINES });
    this.#lines = lines.map(() => draw("line", { class: "grid" }));
    this.#scale = lines.map(() => draw("text", { class: "scale", x: 2 }));
    this.#ticks = Array.from({ length: MINUTES + 1 }, (_, minutes) => {
      const anchor = minutes === 0 ? "end" : minutes === MINUTES ? "start" : "middle";
      const text = () => draw("text", { class: "scale tick", "text-anchor": anchor });
      return { line: draw("line", { class: "grid" }), time: text(), ago: text() };
    });
    this.#cursor = draw("line", { class: "cursor", visibility: "hidden" });
    this.#curves = curves.map(([name, take], nth) => ({
      name, take, series: new Series(POINTS), path: draw("path", { class: `curve c${nth + 1}` }),
      now: make("td", { className: "number" }), most: make("td", { className: "number" }),
    }));
    const svg = draw("svg", { "aria-hidden": "true" });
    svg.append(
      ...this.#lines, ...this.#curves.map(({ path }) => path), ...this.#scale,
      ...this.#ticks.flatMap(({ line, time, ago }) => [line, time, ago]), this.#cursor,
    );
    this.#chart = make("div", { className: "chart", tabIndex: 0 }, svg);
    set(this.#chart, {
      role: "slider", "aria-label": `${title} over the last five minutes`, "aria-describedby": "plots-hint",
      "aria-valuemin": 1 - POINTS, "aria-valuemax": 0, "aria-valuenow": 0, "aria-valuetext": "now",
    });
    this.#listen(onResize);
    const heading = make("h3", { id: `plot-${index}` }, title);
    /** True when only the node that sends the snapshots has the numbers. */
    this.isOwnAlone = options.isOwnAlone === true;
    this.figure = make("figure", {}, heading, this.#chart, this.#legend());
    this.figure.setAttribute("aria-labelledby", heading.id);
  }

  #legend() {
    const head = (text) => make("th", { scope: "col", className: "number" }, text);
    this.#head = head("Now");
    const rows = this.#curves.map(({ name, now, most }, nth) => {
      const key = make("span", { className: `key c${nth + 1}` });
      key.setAttribute("aria-hidden", "true");
      return make("tr", {}, make("th", { scope: "row" }, key, name), now, most);
    });
    return make("table", { className: "legend" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Curve"), this.#head, head("Most"))),
      make("tbody", {}, ...rows));
  }

  #listen(onResize) {
    const chart = this.#chart;
    const point = ({ offsetX }) => {
      const ago = Math.round((1 - offsetX / this.#width) * POINTS);
      this.#show(Math.min(POINTS - 1, Math.max(0, ago)), false);
    };
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
    // A finger leaves when it is lifted: its reading stays until something else is touched.
    chart.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType !== "touch") this.#show(null); });
    chart.addEventListener("blur", () => this.#show(null));
    chart.addEventListener("keydown", (event) => this.#press(event));
    // The observer tells the size after the browser has laid the page out. To ask for it would lay it out once more.
    new ResizeObserver(([{ contentRect }]) => {
      [this.#width, this.#height] = [contentRect.width, contentRect.height];
      onResize();
    }).observe(chart);
  }

  #show(ago, isHeld = false) {
    this.#ago = ago;
    this.#isHeld = isHeld;
    if (ago === null) set(this.#chart, { "aria-valuenow": 0, "aria-valuetext": "now" });
    this.#drawReading();
  }

  #press(event) {
    const step = STEPS[event.key];
    if (event.key === "Escape") this.#show(null);
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const oldest = Math.max(0, this.#times.values.length - 1);
    const ago = Math.min(oldest, Math.max(0, (this.#ago ?? 0) + step));
    this.#show(ago, true);
    // Screen readers read this out. It changes with the keys alone, not with each second.
    const values = this.#curves.map(({ name, series }) => `${name} ${this.#text(series.ago(ago))}`);
    set(this.#chart, { "aria-valuenow": -ago, "aria-valuetext": `${clock(this.#timeAt(ago))}: ${values.join(", ")}` });
  }

  #text(value) { return value === null ? "–" : this.#options.format(value); }

  /** Returns the time of the sample that is `ago` seconds old; null while there are no samples. */
  #timeAt(ago) {
    const { last } = this.#times;
    return this.#times.ago(ago) ?? (last && last - 1_000 * ago);
  }

  take(now, changes) {
    for (const { series, take } of this.#curves) series.push(now && take(now, changes));
    if (this.#isHeld) this.#ago = Math.min(POINTS - 1, this.#ago + 1);
  }

  /** Returns the samples of each curve under its name, oldest first. A gap is null. */
  samples() {
    const { title, unit } = this.#options;
    return this.#curves.map(({ name, series }) => ({ plot: title, curve: name, unit, values: [...series.values] }));
  }

  /** Draws everything. Reads no size from the page, so that all plots together are laid out once per frame. */
  render() {
    if (!this.#width) return;
    const { format, least = 1, isLogarithmic } = this.#options;
    const highest = Math.max(...this.#curves.map(({ series }) => series.max));
    const most = ceiling(highest, isLogarithmic ? 10 * least : least, this.#options);
    const [width, height] = [this.#width, this.#height];
    set(this.#chart.firstChild, { viewBox: `0 0 ${width} ${height}` });
    const [top, bottom] = [14, height - AXIS_PX];
    const share = isLogarithmic
      ? (value) => Math.max(0, Math.log(value / least) / Math.log(most / least))
      : (value) => value / most;
    const y = (value) => (bottom - share(value) * (bottom - top)).toFixed(1);
    const decades = Math.round(Math.log10(most / least));
    const ticks = isLogarithmic ? Array.from({ length: decades + 1 }, (_, n) => least * 10 ** n) : [0, most / 2, most];
    this.#lines.forEach((line, index) => {
      const tick = ticks[index];
      const at = tick === undefined ? bottom : y(tick);
      set(line, { x1: 0, x2: width, y1: at, y2: at });
      // The lowest line has no label.
      write(this.#scale[index], index > 0 && tick !== undefined ? format(tick) : "");
      this.#scale[index].setAttribute("y", at - 3);
    });
    for (const { series, path, most: cell } of this.#curves) {
      const { values } = series;
      let d = "";
      let isDown = false;
      values.forEach((value, index) => {
        const x = this.#x(values.length - 1 - index).toFixed(1);
        if (value !== null) d += `${isDown ? "L" : "M"}${x} ${y(value)}`;
        isDown = value !== null;
      });
      path.setAttribute("d", d);
      write(cell, values.some((value) => value !== null) ? format(series.max) : "–");
    }
    this.#renderAxis(bottom);
    this.#read();
  }

  #x(ago) { return (this.#width * (POINTS - ago)) / POINTS; }

  /** Draws the time axis: a tick for each minute, and labels at as many of them as there is space for. */
  #renderAxis(bottom) {
    const minute = this.#width / MINUTES;
    const step = [1, 2].find((minutes) => minutes * minute >= TICK_PX) ?? MINUTES;
    this.#ticks.forEach(({ line, time, ago }, minutes) => {
      const x = this.#x(60 * minutes);
      set(line, { x1: x, x2: x, y1: bottom, y2: bottom + 4 });
      set(time, { x, y: bottom + 15 });
      set(ago, { x, y: bottom + 27 });
      const isLabelled = minutes % step === 0;
      write(time, isLabelled ? clock(this.#timeAt(60 * minutes)) : "");
      write(ago, isLabelled ? (minutes === 0 ? "now" : `−${minutes} min`) : "");
    });
  }

  /** Shows the values at the time that is read, or the newest ones, in the table below the curves. */
  #read() {
    const ago = this.#ago;
    write(this.#head, ago === null ? "Now" : clock(this.#timeAt(ago)));
    for (const { series, now } of this.#curves) write(now, this.#text(series.ago(ago ?? 0)));
    if (ago === null) {
      this.#cursor.setAttribute("visibility", "hidden");
      return;
    }
    const x = this.#x(ago);
    set(this.#cursor, { x1: x, x2: x, y1: 0, y2: this.#height - AXIS_PX, visibility: "visible" });
  }
}
