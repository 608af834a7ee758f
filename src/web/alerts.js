/** Calls the user: the count in the title and the icon, notifications of the desktop, and a sound. */
import { $ } from "./dom.js";
import { show } from "./rooms.js";
import { settings } from "./settings.js";
import { called } from "./state.js";

const ICON = "icon.svg", ICON_UNREAD = "icon-unread.svg";
const TONES_HZ = [660, 880];
const TONE_S = 0.12;
const LOUDNESS = 0.08; // 1 is the loudest
const PREVIEW_CHARS = 200;
const QUIET_MS = 1_000; // least time between two sounds

let audio = null;
let soundedAt = -Infinity;

export function drawTitle(unread) {
  document.title = unread ? `(${unread}) throng` : "throng";
  const icon = unread ? ICON_UNREAD : ICON;
  if ($("icon").getAttribute("href") !== icon) $("icon").setAttribute("href", icon);
}

/** Plays two short tones. A browser plays nothing before the user has touched the page. */
export function playSound() {
  if (performance.now() - soundedAt < QUIET_MS) return;
  soundedAt = performance.now();
  audio ??= new AudioContext();
  TONES_HZ.forEach((tone, index) => {
    const source = new OscillatorNode(audio, { frequency: tone });
    const loudness = new GainNode(audio, { gain: 0 });
    const start = audio.currentTime + index * TONE_S;
    loudness.gain.setValueAtTime(LOUDNESS, start);
    loudness.gain.exponentialRampToValueAtTime(0.001, start + TONE_S); // a tone that is cut off clicks
    source.connect(loudness).connect(audio.destination);
    source.start(start);
    source.stop(start + TONE_S);
  });
}

/** Tells of a message that the user does not see, as the settings want it. */
export function alertUser(conversation, { user, message }) {
  if (settings.sound) playSound();
  if (!settings.notify || !document.hidden && document.hasFocus()) return;
  const where = conversation.kind === "room" ? ` in ${conversation.name}` : "";
  try {
    const options = { body: message.slice(0, PREVIEW_CHARS), tag: conversation.key };
    const notification = new Notification(`${called(user)}${where}`, options);
    notification.onclick = () => {
      window.focus();
      show(conversation);
      notification.close();
    };
  } catch {} // phones allow notifications to service workers alone
}
