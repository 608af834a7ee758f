"""Why no connection could be made, over real sockets: statuses, redirects, other protocols, and certificates."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import unittest

from throng_client import ChatError, Client, State
from throng_client._dial import Refused, dial

from .server import ServerTest, needs_server, patiently, until

ANSWERS = {
    b"403": (True, 403, None), b"404": (True, 404, None), b"429": (False, 429, 7_000), b"503": (False, 503, 7_000),
    b"200": (True, 200, None),
}


class Refusals(unittest.IsolatedAsyncioTestCase):
    async def answering(self, answer: bytes) -> str:
        """Starts a server that gives this answer, and returns its address."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.addCleanup(server.close)
        host, port = server.sockets[0].getsockname()[:2]
        return f"ws://{host}:{port}/ws/chat/alice"

    async def refusal(self, url: str) -> Refused:
        with self.assertRaises(Refused) as caught:
            await patiently(dial(url, "a-token", None))
        return caught.exception

    async def test_the_status_decides_whether_it_tries_again(self) -> None:
        for status, (is_final, number, after_ms) in ANSWERS.items():
            retry = b"Retry-After: 7\r\n" if after_ms else b""
            url = await self.answering(b"HTTP/1.1 " + status + b" X\r\n" + retry + b"Content-Length: 0\r\n\r\n")
            refusal = await self.refusal(url)
            found = (refusal.is_final, refusal.status, refusal.retry_after_ms)
            self.assertEqual(found, (is_final, number, after_ms), refusal)

    async def test_a_redirect_is_not_followed(self) -> None:
        """The token would be handed to another server."""
        asked: list[bytes] = []

        async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        other = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
        self.addCleanup(other.close)
        port = other.sockets[0].getsockname()[1]
        target = f"http://127.0.0.1:{port}/".encode()
        url = await self.answering(b"HTTP/1.1 302 X\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue((await self.refusal(url)).is_final)
        self.assertEqual(asked, [])

    async def test_no_server_and_no_http_are_worth_another_attempt(self) -> None:
        for url in ("ws://127.0.0.1:1/", await self.answering(b"nonsense\r\n\r\n")):
            self.assertFalse((await self.refusal(url)).is_final)


@needs_server
class Certificates(ServerTest):
    async def test_a_certificate_must_be_trusted(self) -> None:
        certificate, key = (os.path.join(self.folder.name, name) for name in ("cert.pem", "key.pem"))
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        made = subprocess.run([*new, *subject, "-keyout", key, "-out", certificate], capture_output=True, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        server = await self.serve(THRONG_TLS__CERT_FILE=certificate, THRONG_TLS__KEY_FILE=key)
        url = server.url.replace("http:", "https:")
        client = Client(url, user="alice", room="lobby")
        self.addAsyncCleanup(client.close)
        with self.assertRaisesRegex(ChatError, "^The server's certificate is not trusted"):
            await patiently(client.connect())
        trusting = Client(url, user="alice", room="lobby", ssl=ssl.create_default_context(cafile=certificate))
        self.addAsyncCleanup(trusting.close)
        await patiently(trusting.connect())
        self.assertEqual((await patiently(trusting.send("lobby", "hi"))).offset, 1)

    async def test_a_server_without_tls_stops_a_client_that_wants_it(self) -> None:
        server = await self.serve()
        client = Client(server.url.replace("http:", "wss:"), user="alice")
        self.addAsyncCleanup(client.close)
        connecting = asyncio.ensure_future(client.connect())
        state = await until(client.__aiter__(), lambda event: isinstance(event, State) and event.name != "connecting")
        self.assertEqual(state.name, "stopped", state)
        with self.assertRaises(ChatError):
            await connecting


if __name__ == "__main__":
    unittest.main()
