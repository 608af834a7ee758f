"""The client for scripts without asyncio, against the real server."""

from __future__ import annotations

import asyncio
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

from throng_client import ChatError, Message, SyncClient

from .server import ServerTest, needs_server


@needs_server
class Scripts(ServerTest):
    async def test_a_script_sends_reads_and_asks(self) -> None:
        server = await self.serve()
        loop = asyncio.get_running_loop()

        def script() -> list[str]:
            with SyncClient(server.url, user="alice", room="lobby") as chat:
                with ThreadPoolExecutor(4) as pool:
                    acks = list(pool.map(lambda n: chat.send("lobby", f"m{n}"), range(8)))
                self.assertEqual(sorted(ack.offset for ack in acks), list(range(1, 9)))
                heard: list[str] = []
                for event in chat.room("lobby", timeout=30):
                    if isinstance(event, Message):
                        heard.append(event.message)
                        if len(heard) == 8:
                            break
                chat.join("tea")
                self.assertEqual(chat.presence("tea").users, ("alice",))
                self.assertEqual(chat.direct("alice", "note"), 1)
                with self.assertRaises(ChatError) as caught:
                    chat.direct("nobody", "hi")
                self.assertEqual(caught.exception.code, "user_not_found")
                self.assertEqual(len(chat.history("lobby").messages), 8)
                chat.leave("tea")
                with self.assertRaises(TimeoutError):
                    for event in chat.room("lobby", timeout=0.01):
                        self.assertNotIsInstance(event, Message)
            with self.assertRaises(RuntimeError):
                chat.send("lobby", "late")
            return heard

        heard = await asyncio.wait_for(loop.run_in_executor(None, script), 60)
        self.assertEqual(sorted(heard), sorted(f"m{n}" for n in range(8)))
        names = [thread.name for thread in threading.enumerate()]
        self.assertNotIn("throng-client", names, "the thread has ended")

    async def test_a_refused_script_gets_the_reason_and_leaves_no_thread(self) -> None:
        server = await self.serve(THRONG_AUTH__REQUIRED="true", THRONG_AUTH__SECRET="x" * 40)
        loop = asyncio.get_running_loop()

        def script() -> None:
            with SyncClient(server.url, user="alice"):
                pass

        with self.assertRaisesRegex(ChatError, "Authentication failed"):
            await asyncio.wait_for(loop.run_in_executor(None, script), 60)
        self.assertNotIn("throng-client", [thread.name for thread in threading.enumerate()])


if __name__ == "__main__":
    unittest.main()
