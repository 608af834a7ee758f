"""Starts the real server, named by `THRONG_BINARY`, as a child process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import tempfile
import time
import unittest
from collections.abc import AsyncIterator, Callable
from typing import Any

from throng_client import Backoff, Client, Message

from .cuttable import Wires

#: Longest wait for an event, in seconds: much longer than a slow machine under load needs.
PATIENCE_S = 60
UNLIMITED = {"THRONG_RATE_LIMIT__ENABLED": "false", "THRONG_DRAIN__WINDOW": "100ms"}
SECRET = "a-secret-of-the-tests-that-has-at-least-32-bytes"
DEMANDING = {"THRONG_AUTH__REQUIRED": "true", "THRONG_AUTH__SECRET": SECRET, "THRONG_AUTH__LEEWAY": "0ms"}

needs_server = unittest.skipUnless("THRONG_BINARY" in os.environ, "THRONG_BINARY names no server")


def mint(claims: dict[str, Any]) -> str:
    """Makes a token of HS256."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = f"{part(json.dumps({'alg': 'HS256'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


def in_seconds(seconds: int) -> int:
    """Returns a time of expiry for a token."""
    return int(time.time()) + seconds


class Server:
    """A server that can be killed and started again at the same address."""

    def __init__(self, **settings: str) -> None:
        self._settings = {**UNLIMITED, **settings}
        self._listen = "127.0.0.1:0"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{self._listen}"

    async def start(self) -> Server:
        """Starts the server, and returns when it listens."""
        self._process = process = await asyncio.create_subprocess_exec(
            os.environ["THRONG_BINARY"], "serve", "--listen", self._listen, "--log-format", "json",
            env=self._settings, stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        async for line in process.stderr:
            said = json.loads(line)
            if said["message"] == "listening":
                self._listen = said["address"]
                asyncio.get_running_loop().create_task(self._drain(process.stderr))
                return self
        raise AssertionError(f"the server ended with {await process.wait()}")

    async def _drain(self, log: asyncio.StreamReader) -> None:
        async for _ in log:
            pass

    async def kill(self) -> None:
        """Ends the server with SIGKILL: its clients are told nothing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def terminate(self) -> None:
        """Ends the server with SIGTERM, which tells its clients when to come back."""
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()


class ServerTest(unittest.IsolatedAsyncioTestCase):
    """A test against the real server. It closes its clients and its servers."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    async def serve(self, **settings: str) -> Server:
        server = Server(**settings)
        self.addAsyncCleanup(server.kill)
        return await server.start()

    @property
    def history(self) -> str:
        """A folder for a history that survives a crash."""
        return os.path.join(self.folder.name, "history")

    async def enter(
        self, server: Server, user: str, room: str = "lobby", wires: Wires | None = None, **options: Any
    ) -> Client:
        """Returns a client with short delays that is connected."""
        backoff = Backoff(base_ms=50, cap_ms=500)
        client = Client(server.url, user=user, room=room, **{"backoff": backoff, **options})
        self.addAsyncCleanup(client.close)
        if wires is not None:
            wires.watch(client)
            self.addAsyncCleanup(wires.close)
        await patiently(client.connect())
        return client


async def patiently(work: Any) -> Any:
    """Waits for something that must happen."""
    return await asyncio.wait_for(work, PATIENCE_S)


async def read_until(events: AsyncIterator[Any], matches: Callable[[Any], bool]) -> list[Any]:
    """Reads until an event that matches, and returns what was read."""
    read: list[Any] = []

    async def look() -> None:
        async for event in events:
            read.append(event)
            if matches(event):
                return
        raise AssertionError(f"the events ended: {read}")

    try:
        await patiently(look())
    except asyncio.TimeoutError:
        raise AssertionError(f"it did not come, but {read}") from None
    return read


async def until(events: AsyncIterator[Any], matches: Callable[[Any], bool]) -> Any:
    """Reads until an event that matches, and returns it."""
    return (await read_until(events, matches))[-1]


async def texts(events: AsyncIterator[Any], count: int) -> list[str]:
    """Reads so many messages of a room, and returns their texts. A loss fails the test."""
    found: list[str] = []

    async def look() -> None:
        async for event in events:
            kind = type(event).__name__
            if kind == "Gap" or (kind == "Resumed" and not event.recovered):
                raise AssertionError(f"something was lost: {event} after {found}")
            if isinstance(event, Message):
                found.append(event.message)
                if len(found) == count:
                    return

    try:
        await patiently(look())
    except asyncio.TimeoutError:
        raise AssertionError(f"{len(found)} of {count} messages came: {found}") from None
    return found
