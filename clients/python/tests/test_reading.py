"""Events wait for the program, in bounds: nothing is dropped while somebody reads, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
import json
import unittest
from typing import Any

from throng_client import ChatError, Gap, Joined, Message

from .cases import TABLE
from .stage import Stage
from .virtual import run

DEFAULTS = json.loads(TABLE.read_text())["defaults"]


def message(offset: int) -> str:
    return json.dumps({**DEFAULTS["message"], "offset": offset})


async def online(**options: Any) -> Stage:
    stage = Stage(**options)
    connecting = asyncio.ensure_future(stage.client.connect())
    await stage.settle()
    stage.current.say(json.dumps(DEFAULTS["welcome"]))
    await connecting
    return stage


class Reading(unittest.TestCase):
    def test_a_slow_reader_stops_the_socket_and_loses_nothing(self) -> None:
        async def work() -> None:
            stage = await online(max_events=4)
            events = stage.client.room("lobby").__aiter__()
            for offset in range(1, 101):
                stage.current.say(message(offset))
            await stage.settle()
            inbox = stage.client.room("lobby")._inbox
            self.assertLessEqual(len(inbox._events), 5, "the bound, and the events of one frame")
            read = [await anext(events) for _ in range(101)]
            self.assertIsInstance(read[0], Joined)
            self.assertEqual([event.offset for event in read[1:]], list(range(1, 101)))  # type: ignore[union-attr]
            await events.aclose()
            await stage.leave()

        run(work())

    def test_without_a_reader_the_newest_are_kept_and_the_others_are_a_gap(self) -> None:
        async def work() -> None:
            stage = await online(max_events=4)
            for offset in range(1, 11):
                stage.current.say(message(offset))
            await stage.settle()
            events = stage.client.room("lobby").__aiter__()
            read = [await anext(events) for _ in range(5)]
            self.assertEqual(read[0], Gap("lobby", 1, 6))
            self.assertEqual([event.offset for event in read[1:]], [7, 8, 9, 10])  # type: ignore[union-attr]
            await stage.leave()

        run(work())

    def test_nobody_waits_for_ever_for_a_program_that_does_not_read(self) -> None:
        """1. A room's reader stands still, so that nothing is read from the socket. 2. Commands have no answers.
        3. After the time of silence they fail with `unread`, and the connection is not given up. 4. When the reader
        goes on, so does the client, and the message that was in flight is not sent again.
        """

        async def work() -> None:
            stage = await online(max_events=2)
            events = stage.client.room("lobby").__aiter__()
            said = [asyncio.ensure_future(stage.client.send("lobby", text)) for text in ("one", "two")]
            asked = asyncio.ensure_future(stage.client.presence("lobby"))
            for offset in range(1, 11):
                stage.current.say(message(offset))
            await stage.clock.advance(34_999)
            self.assertFalse(any(task.done() for task in (*said, asked)))
            await stage.clock.advance(1)
            for task in said:
                error = task.exception()
                self.assertTrue(isinstance(error, ChatError) and error.code == "unread", error)
            self.assertEqual(stage.client.state.name, "online")
            read = [await anext(events) for _ in range(11)]
            self.assertEqual(len([event for event in read if isinstance(event, Message)]), 10)
            command = stage.current.of("message")[0]
            stage.current.say(json.dumps({**DEFAULTS["ack"], "re": command["id"]}))
            later = asyncio.ensure_future(stage.client.send("lobby", "three"))
            await stage.settle()
            self.assertEqual([command["message"] for command in stage.current.of("message")], ["one", "three"])
            later.cancel()
            asked.cancel()
            await stage.leave()

        run(work())

    def test_a_loop_that_was_left_goes_on_later_and_two_at_once_are_refused(self) -> None:
        async def work() -> None:
            stage = await online()
            room = stage.client.room("lobby")
            for offset in (1, 2):
                stage.current.say(message(offset))
            async for event in room:
                if isinstance(event, Message):
                    break
            first = room.__aiter__()
            with self.assertRaises(RuntimeError):
                room.__aiter__()
            del first
            async for event in room:
                self.assertEqual(getattr(event, "offset", None), 2)
                break
            await stage.leave()

        run(work())

    def test_a_loop_ends_with_the_room_or_says_why(self) -> None:
        async def work() -> None:
            stage = await online()
            room = stage.client.room("lobby")
            await room.leave()
            self.assertEqual([type(event) async for event in room], [Joined])
            with self.assertRaises(ChatError) as caught:
                stage.client.room("lobby")
            self.assertEqual(caught.exception.code, "not_in_room")
            await stage.leave()

            stage = await online()
            stage.current.say(json.dumps({"type": "left", "room": "lobby"}))
            with self.assertRaises(ChatError) as caught:
                async for _ in stage.client.room("lobby"):
                    await stage.settle()
            self.assertEqual(caught.exception.code, "removed")
            await stage.leave()

        run(work())

    def test_a_cancelled_read_loses_no_event(self) -> None:
        async def work() -> None:
            stage = await online()
            events = stage.client.room("lobby").__aiter__()
            await anext(events)
            reading = asyncio.ensure_future(events.__anext__())
            await stage.settle()
            stage.current.say(message(1))
            await asyncio.sleep(0)
            reading.cancel()
            await stage.settle()
            event = await anext(events) if reading.cancelled() else reading.result()
            self.assertIsInstance(event, Message)
            await stage.leave()

        run(work())


if __name__ == "__main__":
    unittest.main()
