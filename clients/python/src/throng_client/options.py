"""The options of a client, checked before anything happens, and the address of one attempt to connect."""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Union
from urllib.parse import quote, urlencode, urlsplit

from .backoff import Backoff
from .errors import ChatError, mistake

#: A JWT, or a function that returns a fresh one, for each connection and before the last one expires.
Token = Union[str, Callable[[], Union[str, Awaitable[str]]], None]

_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,64}\Z")
_ALPHABET = "of A-Z a-z 0-9 _ . : @ -"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_URL_RULE = "must be the server's address and begin with http://, https://, ws:// or wss://"


def is_name(name: object, least: int = 1) -> bool:
    """Returns whether a room can have this name, or with `least` 3 a user."""
    return isinstance(name, str) and len(name) >= least and _NAME.match(name) is not None


def invalid_room() -> ChatError:
    """Returns the error for a room that cannot exist, as the server words it."""
    return ChatError("invalid_room", f"Invalid room: must be 1 to 64 {_ALPHABET}")


@dataclass
class Options:
    """The options of :class:`throng_client.Client`, where they are described."""

    url: str
    user: str
    room: str | None = None
    name: str | None = None
    token: Token = None
    ssl: ssl.SSLContext | None = None
    max_queued: int = 100
    max_events: int = 1024
    grace_ms: float = 10_000
    answer_ms: float = 30_000
    backoff: Backoff = field(default_factory=Backoff)

    def check(self) -> None:
        """Raises :class:`ChatError` with `invalid_argument` for an option with which no attempt can succeed."""
        if not is_name(self.user, 3):
            raise mistake("user", self.user, f"must be 3 to 64 {_ALPHABET}")
        if self.room is not None and not is_name(self.room):
            raise mistake("room", self.room, f"must be 1 to 64 {_ALPHABET}")
        if self.name is not None and not isinstance(self.name, str):
            raise mistake("name", self.name, "must be a string")
        self._check_url()
        if not (self.token is None or callable(self.token) or isinstance(self.token, str)):
            raise mistake("token", self.token, "must be a string or a function")
        # A token in a header must not be able to end the line.
        if isinstance(self.token, str) and not is_token(self.token):
            raise ChatError("invalid_argument", "token: must be printable ASCII without spaces, and not empty")
        for amount in ("max_queued", "max_events", "grace_ms", "answer_ms"):
            value = getattr(self, amount)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
                raise mistake(amount, value, "must be a number of at least 1")

    def _check_url(self) -> None:
        if not isinstance(self.url, str):
            raise mistake("url", self.url, _URL_RULE)
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise mistake("url", self.url, _URL_RULE) from None
        if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
            raise mistake("url", self.url, _URL_RULE)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ChatError("invalid_argument", "url: must not have a user, a password, a query or a fragment")

    def target(self, entry: tuple[str, str | None, int] | None, session: str | None) -> str:
        """Returns the address of one attempt, with the room to enter and the position in it.

        It may hold the secret of a session, and must not be logged.
        """
        parts = urlsplit(self.url)
        query: dict[str, str] = {}
        if self.name:
            query["name"] = self.name
        if entry is not None:
            room, epoch, offset = entry
            query["room"] = room
            if epoch is not None:
                query["resume"] = f"{epoch}:{offset}"
        if session is not None:
            query["session"] = session  # takes a half-open connection over
        path = f"{parts.path.rstrip('/')}/ws/chat/{quote(self.user, safe='')}"
        search = f"?{urlencode(query)}" if query else ""
        return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}{search}"


def is_token(token: object) -> bool:
    """Returns whether a header can carry this token."""
    return isinstance(token, str) and token != "" and all("!" <= char <= "~" for char in token)
