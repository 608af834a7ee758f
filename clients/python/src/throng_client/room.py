"""A room of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._inbox import Events, Inbox
from .events import Ack, History, Presence, RoomEvent

if TYPE_CHECKING:
    from .client import Client


class Room:
    """A room that the client is in, over reconnects. `async for event in room` reads what happens there.

    The loop ends when the program leaves the room or closes the client. It raises :class:`ChatError` when the client
    has stopped for another reason (`stopped`), or is put out of the room (`removed`, `forbidden` and others). One task
    at a time reads; a later loop goes on where an earlier one was left.
    """

    def __init__(self, client: Client, name: str, inbox: Inbox[RoomEvent]) -> None:
        self.name = name
        self._client, self._inbox = client, inbox

    def __aiter__(self) -> Events[RoomEvent]:
        return Events(self._inbox)

    async def send(self, message: str, **data: Any) -> Ack:
        """Publishes in the room, as :meth:`Client.send` does. `data=` is any JSON beside the text."""
        return await self._client.send(self.name, message, **data)

    async def leave(self) -> None:
        """Leaves the room, as :meth:`Client.leave` does."""
        await self._client.leave(self.name)

    async def history(self, before: int | None = None, limit: int | None = None) -> History:
        """Loads a page of the room's messages, as :meth:`Client.history` does."""
        return await self._client.history(self.name, before, limit)

    async def presence(self, after: str | None = None, limit: int | None = None) -> Presence:
        """Loads a page of the room's users, as :meth:`Client.presence` does."""
        return await self._client.presence(self.name, after, limit)

    def typing(self) -> None:
        """Tells the others in the room that this user is typing."""
        self._client.typing(self.name)

    def __repr__(self) -> str:
        return f"Room({self.name!r})"
