/** Runs `throng bench` and reads its report. */
import { execFile } from "node:child_process";

/** Runs a scenario against a server; returns the exit code, what it wrote about failures, and the report. */
export function bench(scenario, server, options) {
  const all = ["bench", scenario, "--url", server.url, "--json", "-", "--quiet", "--settle", "0.2", ...server.options];
  return new Promise((resolve, reject) => {
    execFile(process.env.THRONG_BINARY, [...all, ...options], (error, stdout, stderr) => {
      if (error && typeof error.code !== "number") return reject(error);
      try {
        resolve({ code: error?.code ?? 0, stderr, report: stdout && JSON.parse(stdout) });
      } catch (mistake) {
        reject(new Error(`${mistake}: ${stdout}\n${stderr}`));
      }
    });
  });
}
