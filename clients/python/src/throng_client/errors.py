"""The error that every command of a client can fail with."""

from __future__ import annotations

import json


class ChatError(Exception):
    """The reason why a command failed, or why a client stopped.

    `code` is one of the server's codes (`docs/protocol.md` lists them), or one of the client's own:

    ==================  ====================================================================================
    `invalid_argument`  a mistake of the caller; nothing was sent
    `queue_full`        too many messages or commands wait already; nothing was sent
    `offline`           a question was asked without a connection; nothing was sent
    `connection_lost`   a question had no answer when its connection ended
    `unknown_outcome`   a message was sent and no answer came: it was published once, or not at all
    `unread`            no answer could be read, because the program does not read its events
    `stopped`           the client has stopped for good, or was closed
    `removed`           the server took the user out of a room
    ==================  ====================================================================================
    """

    def __init__(self, code: str, message: str = "", retry_after_ms: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        #: How long the server asks to wait before trying again, in milliseconds; `None` if it does not say.
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" if self.message else self.code

    def __reduce__(self) -> tuple[type[ChatError], tuple[str, str, float | None]]:
        return ChatError, (self.code, self.message, self.retry_after_ms)


def mistake(name: str, value: object, rule: str) -> ChatError:
    """Returns the error for a wrong argument: its name, the rule, and what was given instead."""
    shown = json.dumps(value[:100]) if isinstance(value, str) else type(value).__name__
    return ChatError("invalid_argument", f"{name}: {rule}, not {shown}")
