/** Counts down to the next attempt to connect, in words. Shared by the chat page and the dashboard. */

/** A countdown in whole seconds; starting it again replaces the earlier one. */
export class Countdown {
  #timer;

  /**
   * Calls `write` at once and then every second until {@link stop}.
   * @param {number} delayMs Time until the attempt, in milliseconds.
   * @param {(words: string) => void} write Called with the time left, such as "in 3 s"; never below "in 0 s".
   */
  start(delayMs, write) {
    this.stop();
    const endsAt = performance.now() + delayMs;
    const tick = () => write(`in ${Math.max(0, Math.ceil((endsAt - performance.now()) / 1_000))} s`);
    this.#timer = setInterval(tick, 1_000);
    tick();
  }

  stop() { clearInterval(this.#timer); }
}
