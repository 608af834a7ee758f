"""Plays the cases of `tests/clients/cases.json`, which every client of throng plays."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
from typing import Any

from throng_client import ChatError, State
from throng_client._dial import RETRY_STATUSES, Refused

from .stage import Stage

TABLE = pathlib.Path(__file__).parents[3] / "tests" / "clients" / "cases.json"
KINDS = {
    "Message": "message", "Direct": "direct", "Resumed": "resumed", "Gap": "gap", "Typing": "typing",
    "PresenceDiff": "presence_diff", "Limited": "limited", "Error": "error", "State": "state", "Joined": "joined",
}
#: The standard answers to commands.
ANSWERS = {"message": "ack", "join": "joined"}


def filled(steps: Any, value: Any) -> Any:
    """Puts a value of `for` in the place of `$for`."""
    return json.loads(json.dumps(steps).replace('"$for"', json.dumps(value)))


def scripts(client: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Returns the cases for a client: name, case and defaults."""
    table = json.loads(TABLE.read_text())
    found = []
    for case in table["cases"]:
        if client not in case.get("clients", [client]):
            continue
        for value in case.get("for", [None]):
            name = case["name"] if value is None else f"{case['name']}: {value}"
            found.append((name, {**case, "steps": filled(case["steps"], value)}, table["defaults"]))
    return found


class Mismatch(AssertionError):
    pass


class Case:
    """One case while it is played."""

    def __init__(self, case: dict[str, Any], defaults: dict[str, Any]) -> None:
        self._case, self._defaults = case, defaults
        self._calls: dict[str, asyncio.Task[Any]] = {}
        self._variables: dict[str, Any] = {}
        self._is_replaying = False
        self._tokens = list(case.get("options", {}).get("token") or [])

    async def play(self) -> None:
        options = {name: self._defaults[name] for name in ("user", "room", "answer_ms", "max_queued")}
        options.update(self._case.get("options", {}))
        if isinstance(options.get("token"), list):
            options["token"] = self._token
        self.stage = Stage(**options)
        self._begin("connect", self.stage.client.connect())
        await self.stage.settle()
        await self._play(self._case["steps"])
        await self.stage.leave()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    async def _token(self) -> str:
        token = self._tokens.pop(0)
        if token is None:
            raise ConnectionError("no backend")
        return str(token)

    async def _play(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            kind = next(iter(step))
            try:
                await getattr(self, f"_do_{kind}")(step, step[kind])
                await self.stage.settle()
                await self._answer_pings()
            except Mismatch as error:
                raise Mismatch(f"{json.dumps(step)}: {error}") from None

    async def _answer_pings(self) -> None:
        """The server answers each ping at once, unless it replays messages or the case says otherwise."""
        current = self.stage.current
        if self._is_replaying or not self._case.get("answers_pings", True):
            return
        for ping in current.of("ping"):
            if "id" in ping:  # or it was answered
                current.say(json.dumps({"type": "pong", "re": ping.pop("id")}))
        await self.stage.settle()

    def _event(self, given: Any, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        event = {**self._defaults[given]} if isinstance(given, str) else {**given}
        return {**event, **(overrides or {})}

    def _begin(self, name: str, work: Any) -> None:
        self._calls[name] = asyncio.ensure_future(work)

    # The server

    async def _do_welcome(self, step: dict[str, Any], overrides: dict[str, Any]) -> None:
        event = self._event("welcome", overrides)
        self._is_replaying = event["recovered"]
        self.stage.current.say(json.dumps(event))

    async def _do_say(self, step: dict[str, Any], given: Any) -> None:
        self.stage.current.say(json.dumps(self._event(given, step.get("with"))))

    async def _do_say_text(self, step: dict[str, Any], text: str) -> None:
        self.stage.current.say(text)

    async def _do_answer(self, step: dict[str, Any], to: str) -> None:
        asked = self.stage.current.of(to)
        if not asked:
            raise Mismatch(f"no {to} was sent, but {self.stage.current.sent}")
        event = step["say"] if "say" in step else self._event(ANSWERS[to], step.get("with"))
        if to == "join":
            event = {"room": asked[-1]["room"], **event, **({"room": asked[-1]["room"]} if "say" not in step else {})}
        self._is_replaying = event.get("recovered", False)
        self.stage.current.say(json.dumps({"re": asked[-1].pop("id"), **event}))

    async def _do_end(self, step: dict[str, Any], code: int) -> None:
        self._is_replaying = False
        self.stage.current.end(code, step.get("reason", ""))

    async def _do_refuse(self, step: dict[str, Any], status: int) -> None:
        after = step.get("retry_after_s")
        is_final = status < 500 and status not in RETRY_STATUSES
        retry_after_ms = None if after is None else after * 1000
        refusal = Refused(f"The server answers HTTP status {status}", is_final, status, retry_after_ms)
        self.stage.current.refuse(refusal)

    # The program

    async def _do_call(self, step: dict[str, Any], method: str) -> None:
        arguments = {key: value for key, value in step.items() if key not in ("call", "as")}
        if method in ("join", "leave"):
            arguments["name"] = arguments.pop("room")
        result = getattr(self.stage.client, method)(**arguments)
        if asyncio.iscoroutine(result):
            self._begin(step.get("as", method), result)

    async def _do_wait_ms(self, step: dict[str, Any], ms: float) -> None:
        await self.stage.clock.advance(ms)

    async def _do_wait_for_retry(self, step: dict[str, Any], _: bool) -> None:
        state = self.stage.client.state
        if state.name != "waiting":
            raise Mismatch(f"the client does not wait: {state}")
        await self.stage.clock.advance(state.delay_ms)

    async def _do_repeat(self, step: dict[str, Any], times: int) -> None:
        for _ in range(times):
            await self._play(step["steps"])

    # Expectations of the client

    async def _do_attempts(self, step: dict[str, Any], count: int) -> None:
        self._same(len(self.stage.attempts), count)

    async def _do_asked(self, step: dict[str, Any], query: dict[str, str]) -> None:
        self._same(self.stage.current.query, query)

    async def _do_token(self, step: dict[str, Any], token: str | None) -> None:
        self._same(self.stage.current.token, token)

    async def _do_sent(self, step: dict[str, Any], kind: str) -> None:
        self._match(self.stage.current.of(kind), step["are"])

    async def _do_events(self, step: dict[str, Any], kind: str) -> None:
        found = [dataclasses.asdict(it) for it in self.stage.events if KINDS[type(it).__name__] == kind]
        for event in found if kind == "gap" else []:
            event["from"], event["to"] = event["first"], event["last"]
        self._match(found, step["are"])

    async def _do_rooms(self, step: dict[str, Any], names: list[str]) -> None:
        self._same(self.stage.client.rooms, names)

    async def _do_state(self, step: dict[str, Any], wanted: dict[str, Any]) -> None:
        state: State = self.stage.client.state
        wanted = dict(wanted)
        at_most_ms = wanted.pop("at_most_ms", None)
        self._match([dataclasses.asdict(state)], [wanted])
        if at_most_ms is not None:
            self._same(state.delay_ms, at_most_ms)  # `random` is always 1

    async def _do_returns(self, step: dict[str, Any], name: str) -> None:
        call = self._calls[name]
        if not call.done() or call.exception():
            raise Mismatch(f"{call}")
        result = call.result()
        if "value" in step:
            given = {"delivered": result} if isinstance(result, int) else dataclasses.asdict(result)
            self._match([given], [step["value"]])

    async def _do_fails(self, step: dict[str, Any], name: str) -> None:
        call = self._calls[name]
        error = call.exception() if call.done() else None
        if not isinstance(error, ChatError):
            raise Mismatch(f"{call}")
        self._same(error.code, step["code"])

    async def _do_waits(self, step: dict[str, Any], name: str) -> None:
        if self._calls[name].done():
            raise Mismatch(f"{self._calls[name]}")

    def _same(self, found: Any, wanted: Any) -> None:
        if isinstance(found, tuple):
            found = list(found)
        if isinstance(wanted, str) and wanted.startswith("$"):
            for name, value in self._variables.items():
                if (name == wanted) != (value == found):
                    raise Mismatch(f"{found} for {wanted}, but {self._variables}")
            self._variables[wanted] = found
        elif found != wanted:
            raise Mismatch(f"found {found}, wanted {wanted}")

    def _match(self, found: list[Any], wanted: list[dict[str, Any]]) -> None:
        """Checks a list of objects: as many, and each with at least the wanted fields."""
        if len(found) != len(wanted):
            raise Mismatch(f"found {found}, wanted {wanted}")
        for one, fields in zip(found, wanted):
            for name, value in fields.items():
                self._same(one.get(name), value)
