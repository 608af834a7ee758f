"""Connections to the real server that a test can deafen and cut."""

from __future__ import annotations

import asyncio
import ssl

from throng_client import Client
from throng_client._dial import Closed, Dial, Socket


class Cuttable:
    """A connection. While it is deaf, the server still holds it for alive, and nothing that it sends is seen."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._is_deaf = asyncio.Event()
        self._is_cut = asyncio.Event()

    async def recv(self) -> str | bytes:
        frame = asyncio.ensure_future(self._socket.recv())
        deaf = asyncio.ensure_future(self._is_deaf.wait())
        try:
            await asyncio.wait({frame, deaf}, return_when=asyncio.FIRST_COMPLETED)
            if not self._is_deaf.is_set():
                return frame.result()
        finally:
            for task in (frame, deaf):
                task.cancel()
        await self._is_cut.wait()
        raise Closed(1006, "")

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def close(self, code: int = 1000) -> None:
        if not self._is_deaf.is_set():
            await self._socket.close(code)

    def deafen(self) -> None:
        """Ignores everything from now on; the connection stays open."""
        self._is_deaf.set()

    def cut(self) -> None:
        """Tells the client that a deaf connection is gone. The server is not told."""
        self._is_cut.set()


class Wires:
    """Makes every connection of a client one that can be cut. Newest last."""

    def __init__(self) -> None:
        self.open: list[Cuttable] = []
        self._raw: list[Socket] = []

    def watch(self, client: Client) -> None:
        inner: Dial = client._line.dial

        async def watched(url: str, token: str | None, context: ssl.SSLContext | None) -> Socket:
            socket = await inner(url, token, context)
            self._raw.append(socket)
            self.open.append(Cuttable(socket))
            return self.open[-1]

        client._line.dial = watched

    async def close(self) -> None:
        """Closes what deaf connections have left open."""
        for socket in self._raw:
            await socket.close()
