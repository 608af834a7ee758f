/** The settings of this browser: theme, density, clock, notifications, sound. They are kept in its local storage. */
import { $ } from "./dom.js";

const KEY = "throng.settings";
const DEFAULTS = { theme: "auto", density: "comfortable", clock: "auto", notify: false, sound: false };
const CHOICES = {
  theme: ["auto", "light", "dark"], density: ["comfortable", "compact"], clock: ["auto", "12", "24"],
};
const DAY_MS = 86_400_000;

/** The settings as they are now. */
export const settings = { ...DEFAULTS };
let changed = () => {};
let timeFormat, dayFormat, fullFormat;

function read() {
  let stored = {};
  try { stored = JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch {} // no storage, or not ours
  for (const [name, normal] of Object.entries(DEFAULTS)) {
    const value = stored[name];
    const isFine = CHOICES[name] ? CHOICES[name].includes(value) : typeof value === "boolean";
    settings[name] = isFine ? value : normal;
  }
}

function apply() {
  document.documentElement.dataset.theme = settings.theme;
  document.documentElement.dataset.density = settings.density;
  const hours = { auto: {}, 12: { hour12: true }, 24: { hourCycle: "h23" } }[settings.clock];
  timeFormat = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", ...hours });
  dayFormat = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  fullFormat = new Intl.DateTimeFormat([], {
    year: "numeric", month: "long", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", ...hours,
  });
}

/** Returns the time of day. */
export const clock = (at) => timeFormat.format(at);
/** Returns date and time to the second. */
export const fullTime = (at) => fullFormat.format(at);
/** Returns the day in words. */
export function dayOf(ts) {
  const day = new Date(ts).toDateString();
  if (day === new Date().toDateString()) return "Today";
  return day === new Date(Date.now() - DAY_MS).toDateString() ? "Yesterday" : dayFormat.format(ts);
}

/** Asks for permission to show notifications; returns whether they may be shown. */
async function mayNotify() {
  if (!("Notification" in globalThis)) return false;
  return await Notification.requestPermission() === "granted";
}

async function choose({ target }) {
  const { name } = target;
  $("notify-error").textContent = "";
  settings[name] = target.type === "checkbox" ? target.checked : target.value;
  if (name === "notify" && settings.notify && !await mayNotify()) {
    settings.notify = target.checked = false;
    $("notify-error").textContent = "Your browser does not allow this page to show notifications";
  }
  try { localStorage.setItem(KEY, JSON.stringify(settings)); } catch {} // the setting holds until the page is closed
  apply();
  changed(name);
}

function show() {
  for (const field of $("settings-form").elements) {
    if (field.type === "checkbox") field.checked = settings[field.name];
    else if (field.name in settings) field.value = settings[field.name];
  }
  $("settings").showModal();
}

/** Installs the dialog. `onChange(name)` is called after each change of a setting. */
export function installSettings(onChange) {
  changed = onChange;
  $("settings-form").addEventListener("change", choose);
  $("settings-open").addEventListener("click", show);
  $("settings-close").addEventListener("click", () => $("settings").close());
}

read();
apply();
