"""A thousand clients in one program lose their server in the same instant."""

from __future__ import annotations

import asyncio
import unittest

from throng_client import Backoff, Client, State

from .server import ServerTest, needs_server, patiently, texts

CLIENTS = 1_000
#: Messages before and after the server dies.
BEFORE, TOTAL = 3, 8
#: Presence is not the subject of this test.
QUIET = {"THRONG_PRESENCE__NOTICE_LIMIT": "0", "THRONG_PRESENCE__INTERVAL": "1h"}


@needs_server
class Many(ServerTest):
    async def test_a_thousand_clients_come_back_with_every_message_once(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # it is on in tests, and makes a thousand clients slow
        server = await self.serve(THRONG_HISTORY__DIR=self.history, **QUIET)
        clients = [
            Client(server.url, user=f"user-{n}", room="lobby", backoff=Backoff(base_ms=2_000, cap_ms=4_000))
            for n in range(CLIENTS)
        ]
        self.addAsyncCleanup(self._close, clients)
        await patiently(asyncio.gather(*(client.connect() for client in clients)))
        reading = [asyncio.ensure_future(texts(client.room("lobby").__aiter__(), TOTAL)) for client in clients]
        publisher = await self.enter(server, "publisher")
        for n in range(BEFORE):
            await patiently(publisher.send("lobby", f"message {n}"))
        await server.kill()
        sending = [asyncio.ensure_future(publisher.send("lobby", f"message {n}")) for n in range(BEFORE, TOTAL)]
        await server.start()
        await patiently(asyncio.gather(*sending))
        said = [f"message {n}" for n in range(TOTAL)]
        for heard in await patiently(asyncio.gather(*reading)):
            self.assertEqual(heard, said)
        delays = [await self._first_delay(client) for client in clients]
        self.assertTrue(all(0 <= delay <= 2_000 for delay in delays), delays)
        tenths = [sum(1 for delay in delays if n * 200 <= delay < n * 200 + 200) for n in range(10)]
        self.assertTrue(all(CLIENTS // 25 <= count <= CLIENTS // 4 for count in tenths), tenths)

    async def _first_delay(self, client: Client) -> float:
        async for event in client:
            if isinstance(event, State) and event.name == "waiting":
                return event.delay_ms
        raise AssertionError("it was never away")

    async def _close(self, clients: list[Client]) -> None:
        await asyncio.gather(*(client.close() for client in clients))


if __name__ == "__main__":
    unittest.main()
