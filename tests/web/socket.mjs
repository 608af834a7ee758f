/**
 * A WebSocket on node:http, as small as the tests need it, for Node before 22 and for what a real one does not offer:
 * `cut()` ends the connection without a close frame. Text frames of whole messages, as the server sends them.
 */
import http from "node:http";
import { randomBytes } from "node:crypto";

/** Every socket made, newest last, for tests that look at addresses or cut connections. */
export const sockets = [];

export class Socket {
  onmessage = null;
  onclose = null;
  onerror = null;
  #stream = null;
  #pending = Buffer.alloc(0);
  #queue = [];
  #isClosed = false;
  #isDeaf = false;

  constructor(address, protocols) {
    this.url = address;
    sockets.push(this);
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
      "Sec-WebSocket-Protocol": protocols.join(", "),
    };
    this.request = http.get(address.replace(/^ws/, "http"), { headers });
    this.request.on("upgrade", (response, stream, head) => {
      this.protocol = response.headers["sec-websocket-protocol"];
      this.#stream = stream;
      stream.on("data", (bytes) => this.#take(bytes));
      stream.on("close", () => this.#closed(1006, ""));
      stream.on("error", () => this.#closed(1006, ""));
      for (const frame of this.#queue.splice(0)) stream.write(frame);
      if (head.length > 0) this.#take(head);
    });
    this.request.on("response", (response) => {
      response.resume();
      this.#failed(new Error(`Unexpected server response: ${response.statusCode}`));
    });
    this.request.on("error", (error) => this.#failed(error));
  }

  send(text) { this.#write(1, Buffer.from(text)); }

  close(code = 1000) {
    if (this.#isClosed) return;
    if (this.#stream) this.#write(8, Buffer.from([code >> 8, code & 255]));
    else this.request.destroy();
  }

  /** The connection is gone, and neither side was told. */
  cut() { (this.#stream ?? this.request).destroy(); }

  /** Nothing is heard any more, but the connection stays. */
  deafen() { this.#isDeaf = true; }

  #write(opcode, payload) {
    const mask = randomBytes(4);
    const masked = payload.map((byte, index) => byte ^ mask[index % 4]);
    const { length: size } = payload;
    const length = size < 126 ? [128 | size] : [128 | 126, size >> 8, size & 255];
    const frame = Buffer.concat([Buffer.from([128 | opcode, ...length]), mask, masked]);
    if (this.#stream) this.#stream.write(frame);
    else this.#queue.push(frame);
  }

  #take(bytes) {
    if (this.#isDeaf) return;
    this.#pending = Buffer.concat([this.#pending, bytes]);
    for (;;) {
      const buffer = this.#pending;
      if (buffer.length < 2) return;
      const short = buffer[1] & 127;
      const start = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (buffer.length < start) return;
      const length = short === 126 ? buffer.readUInt16BE(2) : short === 127 ? Number(buffer.readBigUInt64BE(2)) : short;
      if (buffer.length < start + length) return;
      this.#pending = buffer.subarray(start + length);
      this.#frame(buffer[0] & 15, buffer.subarray(start, start + length));
    }
  }

  #frame(opcode, payload) {
    if (opcode === 1) this.onmessage?.({ data: payload.toString() });
    if (opcode === 9) this.#write(10, payload);
    if (opcode !== 8) return;
    this.#write(8, payload.subarray(0, 2));
    this.#stream.end();
    this.#closed(payload.length < 2 ? 1005 : payload.readUInt16BE(0), payload.subarray(2).toString());
  }

  #failed(error) {
    this.onerror?.(error);
    this.#closed(1006, "");
  }

  #closed(code, reason) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onclose?.({ code, reason });
  }
}
