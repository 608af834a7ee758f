"""The same client for scripts without asyncio: it runs an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

from ._inbox import Events
from .client import NO_DATA, Client
from .events import Ack, Event, History, Presence, RoomEvent, State

T = TypeVar("T")
E = TypeVar("E", Event, RoomEvent)


class SyncClient:
    """A client for scripts. Its arguments are those of :class:`throng_client.Client`.

    `with SyncClient(...) as chat` connects and closes. The methods do what their namesakes of the asyncio client do,
    block until they are done, and raise the same errors. They may be called from several threads.
    """

    def __init__(self, url: str, *, user: str, **options: Any) -> None:
        self._client = Client(url, user=user, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="throng-client", daemon=True)

    def _run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs a coroutine in the client's thread. Raises :class:`TimeoutError` after `timeout` seconds."""
        if self._loop.is_closed() or not self._thread.is_alive():
            work.close()
            raise RuntimeError("the client is not connected: use it within `with`, or call connect() first")
        limited = work if timeout is None else asyncio.wait_for(work, timeout)
        future = asyncio.run_coroutine_threadsafe(limited, self._loop)
        try:
            return future.result()
        except asyncio.TimeoutError as error:  # until Python 3.11 another class than the built-in one
            raise TimeoutError(f"nothing came within {timeout} s") from error
        except BaseException:
            future.cancel()  # Ctrl-C ends the wait, and the work too
            raise

    def connect(self, timeout: float | None = None) -> None:
        """Connects, and returns at the first welcome. Raises :class:`TimeoutError` after `timeout` seconds."""
        if not self._thread.is_alive():
            self._thread.start()
        self._run(self._client.connect(), timeout)

    def close(self) -> None:
        """Closes the connection for good, and ends the thread. A second call does nothing."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._run(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def __enter__(self) -> SyncClient:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._client.state

    def send(self, room: str, message: str, data: Any = NO_DATA) -> Ack:
        """Publishes in a room."""
        return self._run(self._client.send(room, message, data))

    def direct(self, to: str, message: str, data: Any = NO_DATA) -> int:
        """Sends a private message to a user."""
        return self._run(self._client.direct(to, message, data))

    def join(self, name: str) -> None:
        """Enters a room and stays in it over reconnects."""
        self._run(self._client.join(name))

    def leave(self, name: str) -> None:
        """Leaves a room."""
        self._run(self._client.leave(name))

    def history(self, room: str, before: int | None = None, limit: int | None = None) -> History:
        """Loads a page of a room's messages."""
        return self._run(self._client.history(room, before, limit))

    def presence(self, room: str, after: str | None = None, limit: int | None = None) -> Presence:
        """Loads a page of a room's users."""
        return self._run(self._client.presence(room, after, limit))

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Reads everything that happens. Raises :class:`TimeoutError` if nothing comes for `timeout` seconds."""
        return self._read(self._client, timeout)

    def room(self, name: str, timeout: float | None = None) -> Iterator[RoomEvent]:
        """Reads what happens in a room. Raises :class:`TimeoutError` if nothing comes for `timeout` seconds."""
        return self._read(self._client.room(name), timeout)

    def _read(self, source: AsyncIterable[E], timeout: float | None) -> Iterator[E]:
        # Everything happens in the client's thread.
        async def begin() -> AsyncIterator[E]:
            return source.__aiter__()

        async def following() -> E | None:
            return await anext(events, None)

        async def end() -> None:
            if isinstance(events, Events):
                await events.aclose()

        events: AsyncIterator[E] = self._run(begin())
        try:
            while (event := self._run(following(), timeout)) is not None:
                yield event
        finally:
            if not self._loop.is_closed():
                self._run(end())
