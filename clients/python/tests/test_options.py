"""Mistakes of the caller are refused at once, and say what is allowed."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from throng_client import Backoff, ChatError, Client
from throng_client._wire import encode, well_formed
from throng_client.options import Options


class Invalid(unittest.TestCase):
    def test_invalid_options_are_refused(self) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"url": "chat.test"}, 'url: must be the server\'s address .* not "chat.test"'),
            ({"url": "file:///index.html"}, "url: "),
            ({"url": "http://"}, "url: "),
            ({"url": "http://h:99999/"}, "url: "),
            ({"url": None}, "url: .* not NoneType"),
            ({"url": "http://ann:secret@h/"}, "url: must not have a user"),
            ({"url": "http://h/?token=x"}, "url: must not have a user"),
            ({"user": "ci"}, 'user: must be 3 to 64 .* not "ci"'),
            ({"user": "a" * 65}, "user: "),
            ({"user": "ann\n"}, "user: "),
            ({"room": "no room"}, 'room: must be 1 to 64 .* not "no room"'),
            ({"room": 7}, "room: .* not int"),
            ({"token": 7}, "token: must be a string or a function, not int"),
            ({"token": "a\r\nHost: b"}, "token: must be printable"),
            ({"max_queued": "many"}, 'max_queued: must be a number of at least 1, not "many"'),
            ({"answer_ms": float("nan")}, "answer_ms: "),
            ({"max_events": 0}, "max_events: "),
        ]
        for wrong, message in cases:
            with self.subTest(wrong), self.assertRaisesRegex(ChatError, f"^{message}") as caught:
                Client(**{"url": "http://chat.test", "user": "alice", **wrong})
            self.assertEqual(caught.exception.code, "invalid_argument")
            self.assertNotIn("secret", str(caught.exception))

    def test_a_message_must_be_text(self) -> None:
        async def work() -> None:
            client = Client("http://chat.test", user="alice", room="lobby")
            wrong: list[tuple[Any, Any]] = [("lobby", 7), ("lobby", None), (7, "hi")]
            for arguments in wrong:
                with self.assertRaises(ChatError) as caught:
                    await client.send(*arguments)
                self.assertEqual(caught.exception.code, "invalid_argument")
            self.assertEqual(client.queued, 0)

        asyncio.run(work())


class Addresses(unittest.TestCase):
    def test_an_address_keeps_the_path_of_a_proxy(self) -> None:
        for url, wanted in (
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws/chat/a%3Ab%40c"),
            ("https://chat.test/a/b/", "wss://chat.test/a/b/ws/chat/a%3Ab%40c"),
            ("wss://[::1]:80/a", "wss://[::1]:80/a/ws/chat/a%3Ab%40c"),
        ):
            self.assertEqual(Options(url, "a:b@c").target(None, None), wanted)

    def test_an_address_has_the_name_the_position_and_the_session(self) -> None:
        options = Options("ws://h", "ann", name="Ann & Ü #?")
        wanted = "ws://h/ws/chat/ann?name=Ann+%26+%C3%9C+%23%3F&room=tea&resume=e1%3A7&session=s1"
        self.assertEqual(options.target(("tea", "e1", 7), "s1"), wanted)


class Texts(unittest.TestCase):
    def test_a_text_that_was_cut_is_made_well_formed_in_every_field(self) -> None:
        self.assertEqual(well_formed("a\ud83d"), "a\ufffd")
        self.assertEqual(well_formed("\ud83d\ude00\udc00😀"), "😀\ufffd😀")
        self.assertEqual(encode({"data": {"\udc00": ["\ud83d"]}}), '{"data":{"\ufffd":["\ufffd"]}}')

    def test_no_json_is_refused(self) -> None:
        deep: list[Any] = []
        for _ in range(10_000):
            deep = [deep]
        for value in (float("inf"), {1, 2}, deep, b"bytes"):
            with self.assertRaises(ChatError):
                encode({"data": value})


class Delays(unittest.TestCase):
    def test_delays_are_spread_over_the_whole_range(self) -> None:
        delays = [Backoff().next() for _ in range(1_000)]
        self.assertTrue(all(0 <= delay <= 500 for delay in delays))
        tenths = [sum(1 for delay in delays if n * 50 <= delay < n * 50 + 50) for n in range(10)]
        self.assertTrue(all(count > 50 for count in tenths), tenths)

    def test_a_server_cannot_make_a_client_wait_for_ever_or_not_at_all(self) -> None:
        self.assertLess(Backoff().next(after_ms=1e30), 2**31)
        self.assertEqual(Backoff().next(after_ms=-5), 0)


if __name__ == "__main__":
    unittest.main()
