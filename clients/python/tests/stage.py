"""A client, and a scripted server without a network."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from throng_client import Backoff, Client, Error, Event
from throng_client._dial import Closed, Refused
from throng_client.options import Options

from .virtual import IdleLoop, ManualClock


class FakeSocket:
    """One attempt of the client, and the connection if the server accepts it."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url, self.token = url, token
        self.query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent: list[dict[str, Any]] = []
        self.is_closed = False
        self._incoming: asyncio.Queue[str | Closed] = asyncio.Queue()

    async def recv(self) -> str:
        item = await self._incoming.get()
        if isinstance(item, Closed):
            raise item
        return item

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def close(self, code: int = 1000) -> None:
        self.is_closed = True

    def accept(self) -> None:
        if not self.accepted.done():
            self.accepted.set_result(None)

    def refuse(self, refusal: Refused) -> None:
        self.accepted.set_exception(refusal)

    def say(self, text: str) -> None:
        self.accept()
        self._incoming.put_nowait(text)

    def end(self, code: int, reason: str = "") -> None:
        self.accept()
        self._incoming.put_nowait(Closed(code, reason))

    def of(self, type: str) -> list[dict[str, Any]]:
        """Returns the commands of a type, in order."""
        return [command for command in self.sent if command["type"] == type]


class Stage:
    """A client on a stage. Its `random` is always 1, so that each delay is the longest possible."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.attempts: list[FakeSocket] = []
        self.events: list[Event] = []
        backoff = options.pop("backoff", None) or Backoff(random=lambda: 1)
        wanted = {"url": "http://chat.test/", "user": "alice", "room": "lobby", **options}
        self.client = Client._made(Options(**wanted, backoff=backoff), self.clock, self._dial)
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def _dial(self, url: str, token: str | None, context: ssl.SSLContext | None) -> FakeSocket:
        socket = FakeSocket(url, token)
        self.attempts.append(socket)
        await socket.accepted
        return socket

    async def _follow(self) -> None:
        try:
            async for event in self.client:
                self.events.append(event)
        except Exception as error:
            self.events.append(Error(getattr(error, "code", "?"), "the events ended"))

    @property
    def current(self) -> FakeSocket:
        return self.attempts[-1]

    async def settle(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IdleLoop)
        await loop.settle()

    async def leave(self) -> None:
        """Closes everything, and checks that no timer is left."""
        self._following.cancel()
        self.client._core.close()
        await self.settle()
        assert self.clock.pending == 0, "a timer is left"
