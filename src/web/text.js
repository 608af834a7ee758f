/** Renders the text of a message: links, code and mentions become elements, everything else is a text node. */
import { make } from "./dom.js";

/** Pieces of a text that are more than text: a block of code, code in a line, a link, `@name`. */
const PIECES = new RegExp([
  "```(?:[\\w+#-]*\\n)?(?<block>[^]+?)\\n?```",
  "`(?<code>[^`\\n]+)`",
  "(?<link>\\bhttps?://[^\\s<>\"`]+)",
  "(?<![\\w.:@-])@(?<user>[\\w.:@-]{3,64})",
].join("|"), "gi");
const CLOSED = { ")": "(", "]": "[", "}": "{" };

const countOf = (text, char) => text.split(char).length - 1;

/** Returns how much of a link is the link: punctuation behind it belongs to the sentence. */
function lengthOfLink(text) {
  let link = text;
  for (;;) {
    const last = link.at(-1);
    const isOpened = last in CLOSED && countOf(link, CLOSED[last]) >= countOf(link, last);
    if (isOpened || !/[.,;:!?'"’”»)\]}*_]/.test(last)) return link.length;
    link = link.slice(0, -1);
  }
}

/** Returns a link to an address of the web; another text becomes a text node. */
function linkTo(text) {
  let url;
  try { url = new URL(text); } catch { return text; }
  if (!["http:", "https:"].includes(url.protocol)) return text;
  return make("a", { href: url.href, rel: "noopener noreferrer nofollow", target: "_blank" }, text);
}

/** Returns the nodes of a text. `isMe` says whether a user id is that of the reader. */
export function nodesOf(text, isMe = () => false) {
  const nodes = [];
  let at = 0;
  const upTo = (end) => { if (end > at) nodes.push(text.slice(at, end)); };
  const isBreak = (index) => text[index] === "\n";
  PIECES.lastIndex = 0;
  for (let found = PIECES.exec(text); found; found = PIECES.exec(text)) {
    const { block, code, link, user } = found.groups;
    // A block has lines of its own, so that the line breaks around it are not shown.
    upTo(block !== undefined && isBreak(found.index - 1) ? found.index - 1 : found.index);
    at = PIECES.lastIndex;
    if (block !== undefined) {
      nodes.push(make("pre", { tabIndex: 0 }, make("code", {}, block)));
      if (isBreak(at)) at += 1;
    } else if (code !== undefined) {
      nodes.push(make("code", {}, code));
    } else if (link !== undefined) {
      const length = lengthOfLink(link);
      nodes.push(linkTo(link.slice(0, length)));
      at = PIECES.lastIndex = found.index + length;
    } else {
      const name = user.replace(/[.:]+$/, ""); // they end the sentence
      at = PIECES.lastIndex = found.index + 1 + name.length;
      nodes.push(make("span", { className: isMe(name) ? "at me" : "at" }, `@${name}`));
    }
  }
  upTo(text.length);
  return nodes;
}
