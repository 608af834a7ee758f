// Checked by tsc and never run: the declarations describe the client that the server serves, and its users compile.
import type * as served from "../../../src/web/client.js";
import type * as declared from "throng-client";
import { Backoff, ChatError, Client, type Message } from "throng-client";
import { useConnection, useRoom } from "throng-client/react";

// Each way round, so that neither has what the other lacks. Private members make classes nominal: their public parts
// are compared.
type Public<T> = { [Name in keyof T]: T[Name] };
declare const real: Public<served.Client>;
declare const written: Public<declared.Client>;
export const one: Public<declared.Client> = real;
// The inferred type of what `on` returns is narrower than the declared one.
export const other: Omit<Public<served.Client>, "on"> = written;
declare const realBackoff: served.Backoff;
export const backoff: declared.Backoff = realBackoff;
declare const realError: served.ChatError;
export const chatError: declared.ChatError = realError;
export const options: ConstructorParameters<typeof served.Client>[0] extends infer Given
  ? Exclude<keyof Given, keyof declared.Options> | Exclude<keyof declared.Options, keyof Given> extends never
    ? true : false
  : never = true;

export async function use(): Promise<void> {
  const client = new Client({ user: "alice", room: "lobby", backoff: new Backoff({ baseMs: 100 }) });
  const remove = client.on("message", (message: Message) => console.log(message.offset + 1, message.data));
  client.on("resumed", ({ missed }) => console.log(missed === null ? "?" : missed + 1));
  // @ts-expect-error there is no such event
  client.on("shout", () => {});
  // @ts-expect-error a user is required
  new Client({});
  await client.connect();
  const { offset } = await client.send("lobby", "hi", { any: ["json"] });
  const { delivered } = await client.direct("bob", "psst");
  console.log(offset + delivered, client.state.delayMs ?? 0);
  remove();
  try {
    await client.history("lobby", { before: 5, limit: 10 });
  } catch (error) {
    if (error instanceof ChatError && error.code === "offline") console.log(error.retryAfterMs);
  }
}

export function Shown({ client }: { client: Client }) {
  const { messages, missed, send } = useRoom(client, "lobby", { keep: 50 });
  const { name } = useConnection(client);
  return [messages.map(({ message }) => message.toUpperCase()), missed, send, name];
}
