/** Saves the samples of the dashboard as a file of JSON, which the browser makes: nothing is sent to the server. */
import { make } from "./dom.js";

const REVOKE_MS = 2_000; // time that the browser has to begin the download

/**
 * Returns what is exported.
 * @param {{ node: string, version: string, subject: string, times: (number | null)[], curves: object[],
 *   figures: object[] }} page The parts: `times` in milliseconds since the Unix epoch, one for each sample, and
 *   the curves with their values in the same order.
 * @param {Date} now The time of the export.
 */
export function contents({ times, ...rest }, now) {
  const isoOf = (ms) => (ms === null ? null : new Date(ms).toISOString());
  return { exported_at: now.toISOString(), ...rest, times: times.map(isoOf) };
}

/** Returns the name of the file: the subject and the time, without characters that some file system refuses. */
export function nameOf(subject, now) {
  const time = now.toISOString().slice(0, 19).replaceAll(":", "-");
  return `throng-${subject.replace(/[^\w.-]+/g, "-").slice(0, 64)}-${time}.json`;
}

/** Lets the browser save a value as JSON. Its address is given back, so that the page does not keep the text. */
export function download(value, name) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(value, null, 1)], { type: "application/json" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_MS);
}
