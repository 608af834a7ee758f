"""The client against the real server: a crash, a takeover, a new token, a rate limit."""

from __future__ import annotations

import asyncio
import unittest

from throng_client import ChatError, Client, Direct, Error, Limited, Message, Resumed, State, Typing

from .cuttable import Wires
from .server import (
    DEMANDING, ServerTest, in_seconds, mint, needs_server, patiently, read_until, texts, until,
)


@needs_server
class Chat(ServerTest):
    async def test_two_clients_chat_in_two_rooms_and_in_private(self) -> None:
        server = await self.serve()
        alice, bob = await self.enter(server, "alice", name="Ann 山"), await self.enter(server, "bob")
        said = bob.room("lobby").__aiter__()
        ack = await patiently(alice.send("lobby", 'hi <b>all</b> "\U0001f41d"', data={"n": [1.5, None]}))
        self.assertEqual((ack.room, ack.offset, ack.duplicate), ("lobby", 1, False))
        heard = await until(said, lambda event: isinstance(event, Message))
        self.assertEqual((heard.user, heard.name, heard.data), ("alice", "Ann 山", {"n": [1.5, None]}))
        self.assertEqual(heard.message, 'hi <b>all</b> "\U0001f41d"')

        games = await patiently(bob.join("games"))
        tea = await patiently(alice.join("games"))
        self.assertEqual((await patiently(games.presence())).users, ("alice", "bob"))
        self.assertEqual((await patiently(games.presence(limit=1))).more, True)
        events = tea.__aiter__()
        bob.typing("games")
        self.assertEqual((await until(events, lambda event: isinstance(event, Typing))).user, "bob")
        await patiently(games.send("your turn"))
        self.assertEqual(await texts(events, 1), ["your turn"])

        private = alice.__aiter__()
        self.assertEqual(await patiently(bob.direct("alice", "psst")), 1)
        self.assertEqual((await until(private, lambda event: isinstance(event, Direct))).message, "psst")
        page = await patiently(bob.history("games", limit=10))
        self.assertEqual(([message.message for message in page.messages], page.more), (["your turn"], False))
        await tea.leave()
        self.assertEqual(alice.rooms, ["lobby"])

    async def test_errors_fail_the_commands_that_caused_them(self) -> None:
        server = await self.serve()
        client = await self.enter(server, "alice")
        for code, work in (
            ("user_not_found", client.direct("nobody", "hi")),
            ("message_too_long", client.send("lobby", "x" * 501)),
            ("not_in_room", client.send("elsewhere", "hi")),
            ("invalid_room", client.join("no room!")),
            ("invalid_message", client.history("lobby", before=-1)),
            ("data_too_long", client.send("lobby", "x", data="x" * 5_000)),
            ("invalid_argument", client.send("lobby", "x", data=float("nan"))),
            ("invalid_argument", client.send("lobby", "x", data={1, 2})),
        ):
            with self.assertRaises(ChatError) as caught:
                await patiently(work)
            self.assertEqual(caught.exception.code, code)
        self.assertEqual((await patiently(client.send("lobby", "still here \ud83d"))).offset, 1)
        page = await patiently(client.history("lobby"))
        self.assertEqual(page.messages[0].message, "still here \ufffd", "a text that was cut within an emoji")
        with self.assertRaises(ChatError) as caught:
            await self.enter(server, "alice")
        self.assertEqual((caught.exception.code, caught.exception.message), ("stopped", "User ID already in use"))
        with self.assertRaises(ChatError) as caught:
            async with Client(f"{server.url}/below/", user="bob"):
                pass
        self.assertEqual(caught.exception.message, "The server answers HTTP status 404")


@needs_server
class Crash(ServerTest):
    async def test_a_crash_loses_nothing_with_a_history_on_disk(self) -> None:
        """1. Alice and Bob are in two rooms. 2. The server is killed. 3. Bob sends while it is away. 4. It starts
        again, and each message of both rooms reaches Alice once and in order.
        """
        server = await self.serve(THRONG_HISTORY__DIR=self.history)
        alice, bob = await self.enter(server, "alice"), await self.enter(server, "bob")
        lobby, tea = alice.room("lobby").__aiter__(), (await patiently(alice.join("tea"))).__aiter__()
        await patiently(bob.join("tea"))
        for number in range(3):
            await patiently(bob.send("lobby", f"lobby {number}"))
            await patiently(bob.send("tea", f"tea {number}"))
        states = bob.__aiter__()
        await server.kill()
        await until(states, lambda event: isinstance(event, State) and event.name == "waiting")
        queued = [asyncio.ensure_future(bob.send(room, f"{room} {n}")) for n in range(3, 6) for room in ("lobby", "tea")]
        await server.start()
        acks = [await patiently(answer) for answer in queued]
        self.assertEqual([ack.offset for ack in acks], [4, 4, 5, 5, 6, 6])
        self.assertEqual(await texts(lobby, 6), [f"lobby {number}" for number in range(6)])
        self.assertEqual(await texts(tea, 6), [f"tea {number}" for number in range(6)])

    async def test_a_crash_without_one_is_reported(self) -> None:
        server = await self.serve()
        client = await self.enter(server, "alice")
        events = client.room("lobby").__aiter__()
        await patiently(client.send("lobby", "before"))
        await server.kill()
        await server.start()
        resumed = await until(events, lambda event: isinstance(event, Resumed))
        self.assertEqual((resumed.recovered, resumed.missed), (False, None))
        self.assertEqual((await patiently(client.send("lobby", "after"))).offset, 1)

    async def test_a_server_that_drains_says_when_to_come_back(self) -> None:
        server = await self.serve()
        client = await self.enter(server, "alice")
        events = client.__aiter__()
        await server.terminate()
        state = await until(events, lambda event: isinstance(event, State) and event.name == "waiting")
        self.assertEqual((state.code, state.is_advised), (1012, True))
        self.assertTrue(1_000 <= state.delay_ms <= 5_000, state)


@needs_server
class Takeover(ServerTest):
    async def test_a_replaced_client_stops_and_its_loops_raise(self) -> None:
        server = await self.serve(THRONG_CHAT__DUPLICATE="replace")
        first = await self.enter(server, "alice")
        events = first.room("lobby").__aiter__()
        second = await self.enter(server, "alice")
        with self.assertRaises(ChatError) as caught:
            await until(events, lambda event: False)
        self.assertEqual((caught.exception.code, caught.exception.message), ("stopped", "Replaced by a newer connection"))
        self.assertEqual((first.state.name, first.state.code, second.state.name), ("stopped", 4501, "online"))
        with self.assertRaises(ChatError):
            await patiently(first.send("lobby", "late"))

    async def test_its_own_half_open_connection_does_not_lock_it_out(self) -> None:
        """1. Alice's connection is lost, and the server still holds it for alive. 2. She comes back at once, with the
        secret of her session, and nobody is told that she left.
        """
        server, wires = await self.serve(), Wires()
        alice, bob = await self.enter(server, "alice", wires=wires), await self.enter(server, "bob")
        events, seen = alice.room("lobby").__aiter__(), bob.room("lobby").__aiter__()
        wires.open[0].deafen()
        wires.open[0].cut()
        await until(events, lambda event: isinstance(event, Resumed) and event.recovered)
        self.assertEqual(await patiently(bob.direct("alice", "are you there?")), 1, "the old one is gone")
        await patiently(bob.send("lobby", "hi"))
        read = await read_until(seen, lambda event: isinstance(event, Message))
        self.assertEqual([event for event in read if "alice" in getattr(event, "left", ())], [])

    async def test_a_message_that_is_sent_again_is_published_once(self) -> None:
        """1. Alice's message arrives, and its ack is lost. 2. She comes back and sends it again, under its key."""
        server, wires = await self.serve(), Wires()
        alice, bob = await self.enter(server, "alice", wires=wires), await self.enter(server, "bob")
        own, others = alice.room("lobby").__aiter__(), bob.room("lobby").__aiter__()
        wires.open[0].deafen()
        answers = [asyncio.ensure_future(alice.send("lobby", text)) for text in ("once", "two", "three")]
        self.assertEqual(await texts(others, 1), ["once"])
        wires.open[0].cut()
        acks = [await patiently(answer) for answer in answers]
        self.assertEqual([(ack.offset, ack.duplicate) for ack in acks], [(1, True), (2, False), (3, False)])
        self.assertEqual(await texts(others, 2), ["two", "three"])
        self.assertEqual(await texts(own, 3), ["once", "two", "three"])


@needs_server
class Tokens(ServerTest):
    async def test_a_token_is_renewed_over_the_same_connection(self) -> None:
        server = await self.serve(**DEMANDING)
        asked = 0

        async def token() -> str:
            nonlocal asked
            asked += 1
            # The third token allows another room: being put out shows that the server has taken it.
            rooms = ["lobby"] if asked < 3 else ["elsewhere"]
            return mint({"sub": "alice", "exp": in_seconds(4), "rooms": rooms})

        client = await self.enter(server, "alice", token=token)
        read = await read_until(client.__aiter__(), lambda event: isinstance(event, Error))
        error = read[-1]
        self.assertEqual((error.code, error.room, asked, client.state.name), ("removed", "lobby", 3, "online"))
        self.assertEqual([event.name for event in read if isinstance(event, State)], ["connecting", "online"])

    async def test_an_expired_token_that_cannot_be_replaced_stops_it(self) -> None:
        server = await self.serve(**DEMANDING)
        client = await self.enter(server, "alice", token=mint({"sub": "alice", "exp": in_seconds(2)}))
        with self.assertRaises(ChatError) as caught:
            await until(client.__aiter__(), lambda event: False)
        self.assertEqual((caught.exception.message, client.state.code), ("Token expired", 3000))


@needs_server
class RateLimit(ServerTest):
    async def test_a_rate_limit_costs_time_and_not_order(self) -> None:
        strict = {"THRONG_RATE_LIMIT__BURST": "2", "THRONG_RATE_LIMIT__MESSAGES_PER_SECOND": "20"}
        server = await self.serve(THRONG_RATE_LIMIT__ENABLED="true", **strict)
        client = await self.enter(server, "alice")
        lobby, everything = client.room("lobby").__aiter__(), client.__aiter__()
        said = [str(number) for number in range(20)]
        acks = await patiently(asyncio.gather(*(client.send("lobby", text) for text in said)))
        self.assertEqual([ack.offset for ack in acks], list(range(1, 21)))
        self.assertEqual(await texts(lobby, 20), said)
        await until(everything, lambda event: isinstance(event, Limited))


if __name__ == "__main__":
    unittest.main()
