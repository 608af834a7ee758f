"""A client of the chat server throng. It reconnects by itself, resumes where it was, and says each message once.

    import asyncio
    from throng_client import Client, Message

    async def main() -> None:
        async with Client("http://127.0.0.1:8080", user="alice", room="lobby") as chat:
            await chat.send("lobby", "hi")
            async for event in chat.room("lobby"):
                if isinstance(event, Message):
                    print(event.user, event.message)

    asyncio.run(main())

It speaks the dialect `throng.v1`, and behaves as the client for browsers does. `README.md` is the guide. `Client` is
for asyncio, and `SyncClient` for scripts without it.
"""

from .backoff import Backoff
from .client import NO_DATA, Client
from .errors import ChatError
from .events import (
    Ack, Direct, Error, Event, Gap, History, Joined, Limited, Message, Presence, PresenceDiff, Resumed, RoomEvent,
    State, Typing,
)
from .options import Token
from .room import Room
from .sync import SyncClient

__version__ = "0.1.0"

__all__ = [
    "NO_DATA", "Ack", "Backoff", "ChatError", "Client", "Direct", "Error", "Event", "Gap", "History", "Joined",
    "Limited", "Message", "Presence", "PresenceDiff", "Resumed", "Room", "RoomEvent", "State", "SyncClient", "Token",
    "Typing",
]
