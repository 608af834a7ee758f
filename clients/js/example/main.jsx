/** A page with a room, in React and with a bundler: `npm install && npm run build`, then serve this folder. */
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Client } from "throng-client";
import { useConnection, useRoom } from "throng-client/react";

const given = new URLSearchParams(location.search);
const client = new Client({
  url: given.get("server") ?? "http://127.0.0.1:8080",
  user: given.get("user") ?? `guest-${Math.floor(Math.random() * 1e6)}`,
});

function Connection() {
  const { name, delayMs, reason } = useConnection(client);
  if (name === "online") return <p role="status">connected</p>;
  const seconds = Math.ceil(delayMs / 1000);
  if (name === "waiting") return <p role="status">back in {seconds} s: {reason || "no connection"}</p>;
  return <p role="status">{name} {reason}</p>;
}

function Room({ name }) {
  const { messages, members, missed, hasMore, error, send, loadOlder } = useRoom(client, name);
  const [text, setText] = useState("");
  const [failure, setFailure] = useState("");
  const submit = (event) => {
    event.preventDefault();
    setText("");
    send(text).then(() => setFailure(""), (refused) => setFailure(refused.message));
  };
  if (error) return <p role="alert">{error.message}</p>;
  return (
    <section>
      <h1>{name} {members !== undefined && <small>{members} here</small>}</h1>
      {hasMore && <button onClick={() => loadOlder().catch(() => setFailure("no connection"))}>older messages</button>}
      <ol>{messages.map(({ id, user, message }) => <li key={id}><b>{user}</b> {message}</li>)}</ol>
      {missed !== 0 && <p role="status">{missed ?? "Some"} messages are missing.</p>}
      <form onSubmit={submit}>
        <input aria-label="message" value={text} onChange={({ target }) => setText(target.value)} />
        <button>send</button>
      </form>
      {failure && <p role="alert">{failure}</p>}
    </section>
  );
}

client.connect().catch(() => {}); // the state says why
createRoot(document.getElementById("app")).render(<><Connection /><Room name="lobby" /></>);
