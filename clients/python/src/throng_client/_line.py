"""The connections of a client: moves tokens, frames and ends between the socket and the core."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ._dial import Closed, Dial, Refused, Socket
from .options import Options, is_token

if TYPE_CHECKING:
    from ._core import Core

#: Most commands that may wait to be written. Each is an answer to a frame, or a command, whose number is limited.
SPARE_COMMANDS = 256
#: Longest wait for connections to close when the client is closed, in seconds.
LEAVING_S = 5


class Attempt:
    """One connection, or the attempt to make it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._outgoing: asyncio.Queue[str] = asyncio.Queue(line.options.max_queued + SPARE_COMMANDS)
        self.is_dropped = False
        self.task = line.spawn(self._run())

    def send(self, text: str) -> None:
        try:
            self._outgoing.put_nowait(text)
        except asyncio.QueueFull:
            # Later: the core is in the middle of something.
            asyncio.get_running_loop().call_soon(self._end, 1006, "The server does not read")

    def drop(self) -> None:
        """Forgets the connection without waiting for its end, which takes minutes if the network is gone."""
        self.is_dropped = True
        if asyncio.current_task() is not self.task:
            self.task.cancel()

    def _end(self, code: int, reason: str, retry_after_ms: float | None = None) -> None:
        if not self.is_dropped:
            self._line.core.disconnected(code, reason, retry_after_ms)

    async def _run(self) -> None:
        try:
            await self._connect_and_read()
        except asyncio.CancelledError:
            if not self.is_dropped:
                raise
        except Exception as error:
            # A mistake of ours: nobody must wait for ever because of it.
            if not self.is_dropped:
                self._line.core.stop(1006, f"internal error: {error!r}")
            raise

    async def _connect_and_read(self) -> None:
        line = self._line
        try:
            token = await line.token()
        except Exception as error:  # of the program's function
            return self._end(1006, f"{type(error).__name__}: {error}")
        if self.is_dropped:
            return
        line.core.dialling()
        try:
            socket = await line.dial(line.core.target(), token, line.options.ssl)
        except Refused as refusal:
            return self._refused(refusal)
        writer = line.spawn(self._write(socket))
        try:
            await self._read(socket)
        except Closed as end:
            self._end(end.code, end.reason)
        finally:
            writer.cancel()
            await socket.close(1000)

    def _refused(self, refusal: Refused) -> None:
        can_renew = refusal.status == 401 and callable(self._line.options.token)  # another token may be accepted
        if refusal.is_final and not can_renew:
            if not self.is_dropped:
                self._line.core.stop(1006, refusal.reason)
        else:
            self._end(1006, refusal.reason, refusal.retry_after_ms)

    async def _read(self, socket: Socket) -> None:
        line = self._line
        while not self.is_dropped:
            text = await socket.recv()
            if self.is_dropped:
                return
            if not isinstance(text, str):
                return self._end(1006, "The server sent a binary frame")
            line.core.receive(text)
            if line.is_full() and not self.is_dropped:
                line.core.set_reading(False)
                await line.space()
                if not self.is_dropped:
                    line.core.set_reading(True)

    async def _write(self, socket: Socket) -> None:
        while True:
            await socket.send(await self._outgoing.get())


class Line:
    """Makes one connection at a time for a core."""

    core: Core

    def __init__(self, options: Options, dial: Dial, is_full: Callable[[], bool], space: Callable[[], Awaitable[None]]):
        self.options, self.dial, self.is_full, self.space = options, dial, is_full, space
        self._attempt: Attempt | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task and keeps it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def open(self) -> None:
        self._attempt = Attempt(self)

    def send(self, text: str) -> None:
        if self._attempt is not None:
            self._attempt.send(text)

    def drop(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.drop()
        if self._fetching is not None and self._fetching is not asyncio.current_task():
            self._fetching.cancel()

    async def token(self) -> str | None:
        """Returns the token for a connection. Whatever the program's function raises is raised."""
        source = self.options.token
        if not callable(source):
            return source
        given = source()
        token = given if isinstance(given, str) else await given
        if token is not None and not is_token(token):
            raise ValueError("a token must be printable ASCII without spaces, and not empty")
        return token

    def renew(self, use: Callable[[object], None]) -> None:
        """Gets another token for the present connection, and hands it to `use`; `None` if there is none."""
        attempt = self._attempt

        async def fetch() -> None:
            try:
                token = await self.token()
            except Exception:  # of the program's function, which knows why
                token = None
            if attempt is self._attempt and attempt is not None:
                use(token)

        self._fetching = self.spawn(fetch())

    async def closed(self) -> None:
        """Waits, at most five seconds, until all connections are closed."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=LEAVING_S)
