// Members of rooms for the test of a killed node: many of the browser's client in one process of Node.
//
//   node members.mjs URL MEMBERS ROOMS MESSAGES
//
// Prints "online" as soon as every member is connected. When every member has all messages of its room, it prints how
// many members were thrown out, how many of those recovered everything, and what was wrong, as a line of JSON.
import { Backoff, Client } from "../../../src/web/client.js";
import { Socket } from "../../web/socket.mjs";

const WebSocket = globalThis.WebSocket ?? Socket; // Node has one from 22 on

const [url, ...numbers] = process.argv.slice(2);
const [memberCount, roomCount, messageCount] = numbers.map(Number);
const report = { members: memberCount, thrownOut: 0, recovered: 0, mistakes: [] };
let notOnline = memberCount;
let notDone = memberCount;

function mistake(text) {
  if (report.mistakes.length < 10) report.mistakes.push(text);
}

async function member(number) {
  const user = `js-${number}`;
  const room = `room-${number % roomCount}`;
  const backoff = new Backoff({ baseMs: 500, capMs: 4_000 });
  const chat = new Client({ user, room, url, WebSocket, backoff, answerMs: 60_000 });
  let [texts, isThrownOut, isOnline] = [0, false, false];
  chat.on("state", ({ name }) => {
    if (name === "online" && !isOnline) {
      isOnline = true;
      if (--notOnline === 0) console.log("online");
    }
    if (name === "waiting" && isOnline && !isThrownOut) {
      isThrownOut = true;
      report.thrownOut += 1;
    }
    if (name === "stopped" && notDone > 0 && texts < messageCount) mistake(`${user} has stopped`);
  });
  chat.on("gap", () => mistake(`${user} has a gap`));
  chat.on("resumed", ({ recovered }) => {
    if (recovered) report.recovered += 1;
    else mistake(`${user} did not recover`);
  });
  chat.on("message", ({ message }) => {
    if (message !== `message ${texts}`) mistake(`${user} got "${message}" instead of number ${texts}`);
    texts += 1;
    if (texts < messageCount) return;
    notDone -= 1;
    if (notDone === 0) {
      console.log(JSON.stringify(report));
      process.exit(0);
    }
  });
  await chat.connect();
}

await Promise.all(Array.from({ length: memberCount }, (_, number) => member(number)));
