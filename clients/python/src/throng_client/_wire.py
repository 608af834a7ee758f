"""Commands as JSON, and frames of the server as objects."""

from __future__ import annotations

import json
from typing import Any

from .errors import ChatError
from .events import Malformed

#: Deepest nesting that is looked at. The server accepts 15 levels, and a deeper value would exceed Python's stack.
MAX_DEPTH = 64


def well_formed(text: str) -> str:
    """Replaces each half of a surrogate pair, as left by cutting a text, with U+FFFD, and joins whole pairs."""
    if not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _clean(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {well_formed(key) if isinstance(key, str) else key: _clean(it, depth + 1) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(it, depth + 1) for it in value]
    return value


def encode(command: dict[str, Any]) -> str:
    """Returns a command as JSON. Raises :class:`ChatError` with `invalid_argument` for what is no JSON."""
    try:
        return json.dumps(_clean(command), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, OverflowError) as error:
        raise ChatError("invalid_argument", f"cannot be written as JSON: {error}") from error


def decode(text: str) -> dict[str, Any]:
    """Returns the object in a frame. Raises :class:`Malformed` for anything else."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("no JSON") from error
    if not isinstance(frame, dict):
        raise Malformed("no object")
    return frame
