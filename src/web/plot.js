/** Draws the curves of the dashboard as SVG, with a table of their numbers. */
import { make } from "./dom.js";
import { Series, ceiling } from "./stats.js";

/** Most points of a curve, one per second: five minutes. */
export const POINTS = 300;
const MAX_LINES = 8; // lines of a plot's grid
const SVG = "http://www.w3.org/2000/svg";

/** Makes an SVG element. */
export function draw(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Changes the text of an element only if it differs, so that the browser does not lay it out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A plot. Its options are those of `PLOTS` in figures.js. */
export class Plot {
  #options; #curves; #svg; #lines; #scale;

  constructor(options, index) {
    this.#options = options;
    const { title, curves } = options;
    const label = `${title} over the last five minutes; numbers in the table below`;
    this.#svg = draw("svg", { role: "img", "aria-label": label });
    const lines = Array.from({ length: MAX_LINES });
    this.#lines = lines.map(() => draw("line", { class: "grid" }));
    this.#scale = lines.map(() => draw("text", { class: "scale", x: 2 }));
    this.#curves = curves.map(([name, take], nth) => ({
      name, take, series: new Series(POINTS), path: draw("path", { class: `curve c${nth + 1}` }),
      now: make("td", { className: "number" }), most: make("td", { className: "number" }),
    }));
    this.#svg.append(...this.#lines, ...this.#curves.map(({ path }) => path), ...this.#scale);
    const head = (text) => make("th", { scope: "col", className: "number" }, text);
    const rows = this.#curves.map(({ name, now, most }, nth) => {
      const key = make("span", { className: `key c${nth + 1}` });
      key.setAttribute("aria-hidden", "true");
      return make("tr", {}, make("th", { scope: "row" }, key, name), now, most);
    });
    const table = make("table", { className: "legend" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Curve"), head("Now"), head("Most"))),
      make("tbody", {}, ...rows));
    const heading = make("h3", { id: `plot-${index}` }, title);
    /** True when only the node that sends the snapshots has the numbers. */
    this.isOwnAlone = options.isOwnAlone === true;
    this.figure = make("figure", {}, heading, this.#svg, table);
    this.figure.setAttribute("aria-labelledby", heading.id);
  }

  take(now, changes) {
    for (const { series, take } of this.#curves) series.push(now && take(now, changes));
  }

  render() {
    const { format, least = 1, isLogarithmic } = this.#options;
    const highest = Math.max(...this.#curves.map(({ series }) => series.max));
    const most = ceiling(highest, isLogarithmic ? 10 * least : least, this.#options);
    const { clientWidth: width, clientHeight: height } = this.#svg;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [top, bottom] = [14, height - 2];
    const share = isLogarithmic
      ? (value) => Math.max(0, Math.log(value / least) / Math.log(most / least))
      : (value) => value / most;
    const y = (value) => (bottom - share(value) * (bottom - top)).toFixed(1);
    const decades = Math.round(Math.log10(most / least));
    const ticks = isLogarithmic ? Array.from({ length: decades + 1 }, (_, n) => least * 10 ** n) : [0, most / 2, most];
    this.#lines.forEach((line, index) => {
      const tick = ticks[index];
      const at = tick === undefined ? bottom : y(tick);
      for (const [name, value] of [["x1", 0], ["x2", width], ["y1", at], ["y2", at]]) line.setAttribute(name, value);
      // The lowest line has no label.
      write(this.#scale[index], index > 0 && tick !== undefined ? format(tick) : "");
      this.#scale[index].setAttribute("y", at - 3);
    });
    for (const { series, path, now, most } of this.#curves) {
      const { values } = series;
      let d = "";
      let isDown = false;
      values.forEach((value, index) => {
        const x = ((width * (POINTS - values.length + index + 1)) / POINTS).toFixed(1);
        if (value !== null) d += `${isDown ? "L" : "M"}${x} ${y(value)}`;
        isDown = value !== null;
      });
      path.setAttribute("d", d);
      write(now, values.length ? format(series.last) : "–");
      write(most, values.some((value) => value !== null) ? format(series.max) : "–");
    }
  }
}
