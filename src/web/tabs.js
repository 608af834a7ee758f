/** The other tabs of this browser: one of them may be in the chat under the same name, and lets this one go on. */
const CHANNEL = "throng";
const WAIT_MS = 400; // for an answer

const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(CHANNEL) : null;

/** Asks the other tabs for the session under which a user is in the chat; returns nothing if no tab has one. */
export function sessionElsewhere(user) {
  if (!channel) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const listen = ({ data }) => { if (data?.answer === user) done(data.session); };
    const done = (session) => {
      clearTimeout(timer);
      channel.removeEventListener("message", listen);
      resolve(session);
    };
    const timer = setTimeout(done, WAIT_MS, undefined);
    channel.addEventListener("message", listen);
    channel.postMessage({ ask: user });
  });
}

/** Answers other tabs. `sessionOf(user)` returns the session of this tab if it is in the chat as this user. */
export function answerTabs(sessionOf) {
  channel?.addEventListener("message", ({ data }) => {
    const session = data?.ask && sessionOf(data.ask);
    if (session) channel.postMessage({ answer: data.ask, session });
  });
}
