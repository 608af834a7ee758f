"""Makes a WebSocket connection with the package `websockets`, and says why it could not be made.

The package has two implementations: that of Debian 12 (10.4) and that of version 13 and later. Only this module knows
the difference.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, WebSocketException

#: Largest frame from the server that is read, in bytes. A page of history, the largest one that is expected, has 64
#: KiB with the server's default limits.
MAX_FRAME_BYTES = 16 << 20
#: Longest wait for the server's answer to a close frame.
CLOSE_S = 1
#: HTTP statuses worth another attempt, as all from 500 on.
RETRY_STATUSES = frozenset({408, 425, 429})


class Socket(Protocol):
    """An open connection."""

    async def recv(self) -> str | bytes: ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int = 1000) -> None: ...


#: Makes a connection to an address, with a token and the TLS context for `wss://`.
Dial = Callable[[str, "str | None", "ssl.SSLContext | None"], Awaitable[Socket]]


@dataclass
class Refused(Exception):
    """No connection was made. `is_final` says that another attempt would fail in the same way."""

    reason: str
    is_final: bool = False
    status: int | None = None
    retry_after_ms: float | None = None


@dataclass
class Closed(Exception):
    """The connection has ended: with a close frame, or with 1006 without one."""

    code: int
    reason: str


class _Redirected(Exception):
    """The server sends us elsewhere. Following it would hand our token to another server."""


def _connect() -> tuple[Callable[..., Any], str]:
    """Returns the package's function to connect, and its name for the headers of the request."""

    def stay(self: Any, error: Exception) -> Exception:
        return error

    def leave(self: Any, uri: str) -> None:
        raise _Redirected(uri)

    try:
        module = import_module("websockets.asyncio.client")
    except ModuleNotFoundError:
        legacy = import_module("websockets.legacy.client")
        return type("Connect", (legacy.Connect,), {"handle_redirect": leave}), "extra_headers"
    return type("Connect", (module.connect,), {"process_redirect": stay}), "additional_headers"


_CONNECT, _HEADERS = _connect()


class _Wrapped:
    """A connection of the package, with errors of ours."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def recv(self) -> str | bytes:
        try:
            frame: str | bytes = await self._socket.recv()
        except ConnectionClosed as error:
            received = error.rcvd
            raise Closed(received.code, received.reason) if received else Closed(1006, "") from error
        return frame

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed:
            pass  # the end, with its reason, comes from `recv`

    async def close(self, code: int = 1000) -> None:
        await self._socket.close(code)


async def dial(url: str, token: str | None, context: ssl.SSLContext | None) -> Socket:
    """Connects to the server. Raises :class:`Refused`.

    The token goes into a header and never into the address. Pings of the package are off: the client itself watches
    the silence of the server.
    """
    options: dict[str, Any] = {
        "subprotocols": ["throng.v1"], "ping_interval": None, "open_timeout": None, "close_timeout": CLOSE_S,
        "max_size": MAX_FRAME_BYTES,
    }
    if token is not None:
        options[_HEADERS] = {"Authorization": f"Bearer {token}"}
    if context is not None and url.startswith("wss:"):
        options["ssl"] = context
    try:
        socket = await _CONNECT(url, **options)
    except _Redirected as error:
        raise Refused("The server answers with a redirect", is_final=True) from error
    except (OSError, WebSocketException, EOFError, ValueError) as error:
        raise refused(error) from error
    if socket.subprotocol != "throng.v1":
        await socket.close()
        raise Refused("The server does not speak throng.v1", is_final=True)
    return _Wrapped(socket)


def refused(error: Exception) -> Refused:
    """Returns why no connection was made, and whether another attempt can help."""
    status, headers = _answer(error)
    if status is not None:
        after = str(headers.get("Retry-After", "")).strip()
        retry_after_ms = float(after) * 1000 if re.fullmatch(r"\d{1,7}", after) else None
        is_final = status < 500 and status not in RETRY_STATUSES
        return Refused(f"The server answers HTTP status {status}", is_final, status, retry_after_ms)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or str(error)
        return Refused(f"The server's certificate is not trusted: {why}. The option ssl can name others", is_final=True)
    if isinstance(error, ssl.SSLError):
        is_no_tls = str(error.reason) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
        return Refused(f"TLS: {error}", is_final=is_no_tls)
    # A malformed answer may be that of a proxy in trouble. One with the wrong headers is of no WebSocket server.
    is_other = type(error).__name__ in ("InvalidUpgrade", "InvalidHeader", "InvalidHeaderValue", "NegotiationError")
    is_final = isinstance(error, InvalidURI) or (isinstance(error, InvalidHandshake) and is_other)
    return Refused(str(error) or type(error).__name__, is_final)


def _answer(error: Exception) -> tuple[int | None, Any]:
    """Returns the status and the headers of an HTTP answer that is no upgrade."""
    answer = getattr(error, "response", error)
    status = getattr(answer, "status_code", None)
    return (status, getattr(answer, "headers", {})) if isinstance(status, int) else (None, {})
