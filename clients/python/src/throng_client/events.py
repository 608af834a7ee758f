"""The events that a program reads, and the answers to its commands.

Names of users and rooms hold only `A-Z a-z 0-9 _ . : @ -`. Texts hold whatever another user has written, control
characters included: remove those before you print a text on a terminal. All times are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union

StateName = Literal["idle", "connecting", "online", "waiting", "stopped"]


@dataclass(frozen=True)
class State:
    """The state of the connection has changed.

    `attempt` counts the attempts since the last healthy connection. A client that waits says for how long
    (`delay_ms`), why the last connection ended (`code`, `reason`), and whether the server had announced the end
    (`is_advised`). A client that is online has the server's `limits`.
    """

    name: StateName
    attempt: int = 0
    delay_ms: float = 0
    code: int | None = None
    reason: str = ""
    is_advised: bool = False
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """A message in a room. `name` is that of the user for people, and `data` the JSON that the message carries; it is
    `None` both for JSON's null and where there is none.

    `offset` counts the messages of the room from 1. `ts` is in milliseconds since the Unix epoch, for display only.
    """

    room: str
    user: str
    message: str
    offset: int
    id: str
    ts: int
    name: str | None = None
    data: Any = None


@dataclass(frozen=True)
class Direct:
    """A private message to this user."""

    user: str
    message: str
    id: str
    ts: int
    name: str | None = None
    data: Any = None


@dataclass(frozen=True)
class Joined:
    """A room was entered, for the first time or after a reconnect. `members` counts its users; it is `None` for the
    room of the handshake.
    """

    room: str
    epoch: str
    offset: int
    recovered: bool
    members: int | None = None


@dataclass(frozen=True)
class Resumed:
    """A room was entered again after a reconnect.

    If `recovered`, `missed` messages were replayed before this event. If not, they are lost, and `None` means that
    nobody can tell how many.
    """

    room: str
    recovered: bool
    missed: int | None


@dataclass(frozen=True)
class Gap:
    """The messages from the offset `first` to the offset `last` do not come. :meth:`Client.history` may have them."""

    room: str
    first: int
    last: int


@dataclass(frozen=True)
class PresenceDiff:
    """Users entered or left a room. In large rooms both lists are empty, and only the number of `members` is told.

    `names` has the names for people of those who entered, by user.
    """

    room: str
    members: int
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Typing:
    """A user of a room is typing."""

    room: str
    user: str


@dataclass(frozen=True)
class Limited:
    """The server limits the rate. The queued messages are sent after that time, and nothing is lost."""

    retry_after_ms: float


@dataclass(frozen=True)
class Error:
    """An error that answers no call. `room` is set if the client is out of that room: the server did not let it in
    again, or took it out (`removed`).
    """

    code: str
    message: str
    room: str | None = None
    retry_after_ms: float | None = None


RoomEvent = Union[Message, Joined, Resumed, Gap, PresenceDiff, Typing]
Event = Union[RoomEvent, State, Direct, Limited, Error]


@dataclass(frozen=True)
class Ack:
    """The position of a message in its room. `duplicate` is true when an earlier try had published it already."""

    room: str
    epoch: str
    offset: int
    duplicate: bool


@dataclass(frozen=True)
class History:
    """A page of a room's messages, oldest first. `more` is true when older ones are kept."""

    room: str
    epoch: str
    messages: tuple[Message, ...]
    more: bool


@dataclass(frozen=True)
class Presence:
    """A page of a room's users, by name. `members` counts all of them, and `more` is true when this is not the last
    page. `names` has the names for people of those users who have one, by user.
    """

    room: str
    users: tuple[str, ...]
    members: int
    more: bool
    names: Mapping[str, str] = field(default_factory=dict)


class Malformed(Exception):
    """A frame of the server is no event of `throng.v1`."""


Frame = Mapping[str, Any]


def _text(frame: Frame, name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise Malformed(f"'{name}' is not a string")
    return value


def _count(frame: Frame, name: str) -> int:
    value = frame.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Malformed(f"'{name}' is not a count")
    return value


def _texts(frame: Frame, name: str) -> tuple[str, ...]:
    value = frame.get(name) or ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
        raise Malformed(f"'{name}' is not a list of strings")
    return tuple(value)


def _names(frame: Frame) -> Mapping[str, str]:
    value = frame.get("names") or {}
    if not isinstance(value, dict):
        raise Malformed("'names' is not an object")
    return value


@dataclass(frozen=True)
class Advice:
    """The advice of the server about the close that follows."""

    code: int
    reason: str
    reconnect: bool
    after_ms: float | None


def advice_of(frame: Frame) -> Advice:
    """Returns the advice in a `disconnect`. Raises :class:`Malformed`."""
    after_ms = _count(frame, "after_ms") if "after_ms" in frame else None
    return Advice(_count(frame, "code"), str(frame.get("reason", "")), frame.get("reconnect") is not False, after_ms)


def message_of(frame: Frame) -> Message:
    """Returns the message in a frame. Raises :class:`Malformed`."""
    return Message(
        _text(frame, "room"), _text(frame, "user"), _text(frame, "message"), _count(frame, "offset"),
        _text(frame, "id"), _count(frame, "ts"), frame.get("name"), frame.get("data"),
    )


def direct_of(frame: Frame) -> Direct:
    """Returns the private message in a frame. Raises :class:`Malformed`."""
    return Direct(
        _text(frame, "user"), _text(frame, "message"), _text(frame, "id"), _count(frame, "ts"),
        frame.get("name"), frame.get("data"),
    )


def joined_of(frame: Frame) -> Joined:
    """Returns the position in a `welcome` or a `joined`. Raises :class:`Malformed`."""
    members = _count(frame, "members") if "members" in frame else None
    recovered = frame.get("recovered") is True
    return Joined(_text(frame, "room"), _text(frame, "epoch"), _count(frame, "offset"), recovered, members)


def gap_of(frame: Frame) -> Gap:
    """Returns the gap in a frame. Raises :class:`Malformed`."""
    return Gap(_text(frame, "room"), _count(frame, "from"), _count(frame, "to"))


def presence_diff_of(frame: Frame) -> PresenceDiff:
    """Returns the change of a room's users in a frame. Raises :class:`Malformed`."""
    return PresenceDiff(
        _text(frame, "room"), _count(frame, "members"), _texts(frame, "joined"), _texts(frame, "left"), _names(frame)
    )


def typing_of(frame: Frame) -> Typing:
    """Returns the notice of typing in a frame. Raises :class:`Malformed`."""
    return Typing(_text(frame, "room"), _text(frame, "user"))


def ack_of(frame: Frame) -> Ack:
    """Returns the position in an `ack`. Raises :class:`Malformed`."""
    duplicate = frame.get("duplicate") is True
    return Ack(_text(frame, "room"), _text(frame, "epoch"), _count(frame, "offset"), duplicate)


def delivered_of(frame: Frame) -> int:
    """Returns the number of connections in the `ack` of a private message. Raises :class:`Malformed`."""
    return _count(frame, "delivered")


def history_of(frame: Frame) -> History:
    """Returns the page of messages in a frame. Raises :class:`Malformed`."""
    messages = frame.get("messages")
    if not isinstance(messages, list):
        raise Malformed("'messages' is not a list")
    page = tuple(message_of(message) for message in messages)
    return History(_text(frame, "room"), _text(frame, "epoch"), page, frame.get("more") is True)


def presence_of(frame: Frame) -> Presence:
    """Returns the page of users in a frame. Raises :class:`Malformed`."""
    more = frame.get("more") is True
    return Presence(_text(frame, "room"), _texts(frame, "users"), _count(frame, "members"), more, _names(frame))
