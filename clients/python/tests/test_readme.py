"""The programs of README.md: the newcomer's ten lines survive a kill, and every other one is valid."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pathlib
import re
import sys
import unittest

from .server import ServerTest, needs_server, patiently

PACKAGE = pathlib.Path(__file__).parents[1]
PROGRAMS = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"


class Programs(unittest.TestCase):
    def test_every_program_compiles(self) -> None:
        self.assertGreater(len(PROGRAMS), 5)
        for program in PROGRAMS:
            compile(program, "README.md", "exec")

    def test_the_first_program_has_about_ten_lines(self) -> None:
        lines = [line for line in PROGRAMS[0].splitlines() if line.strip()]
        self.assertLessEqual(len(lines), 10)


@needs_server
class Newcomer(ServerTest):
    async def test_the_first_program_loses_nothing_when_the_server_is_killed(self) -> None:
        server = await self.serve(THRONG_HISTORY__DIR=self.history)
        self.assertIn(ADDRESS, PROGRAMS[0])
        program = PROGRAMS[0].replace(ADDRESS, server.url)
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE / "src"), "PYTHONIOENCODING": "utf-8"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env=environment, stdout=asyncio.subprocess.PIPE
        )
        self.addAsyncCleanup(process.wait)
        self.addCleanup(process.kill)
        output = process.stdout
        assert output is not None
        self.assertEqual(await patiently(output.readline()), b"alice: hi\n")
        bob = await self.enter(server, "bob")
        await patiently(bob.send("lobby", "before"))
        self.assertEqual(await patiently(output.readline()), b"bob: before\n")
        for round in range(3):
            await server.kill()
            waiting = asyncio.ensure_future(bob.send("lobby", f"while it is away {round}"))
            await server.start()
            await patiently(waiting)
            await patiently(bob.send("lobby", f"after {round}"))
            for text in (f"while it is away {round}", f"after {round}"):
                self.assertEqual(await patiently(output.readline()), f"bob: {text}\n".encode())


@needs_server
class Backend(ServerTest):
    @unittest.skipUnless(
        all(importlib.util.find_spec(name) for name in ("fastapi", "httpx")), "fastapi or httpx is not installed"
    )
    async def test_the_backend_of_the_readme_publishes(self) -> None:
        server = await self.serve()
        program = next(program for program in PROGRAMS if "FastAPI" in program).replace(ADDRESS, server.url)
        bob = await self.enter(server, "bob", room="orders")
        ask = (
            "\napp.router.lifespan_context = lifespan"  # FastAPI before 0.93, as in Debian 12, ignores the argument
            "\nfrom fastapi.testclient import TestClient\n"
            "with TestClient(app) as backend:\n    print(backend.post('/orders/7').json())\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE / "src")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program + ask, env=environment, stdout=asyncio.subprocess.PIPE
        )
        try:
            said, _ = await patiently(process.communicate())
        finally:
            if process.returncode is None:
                process.kill()
        self.assertEqual((said, process.returncode), (b"{'offset': 1}\n", 0))
        page = await patiently(bob.history("orders"))
        self.assertEqual([(message.user, message.data) for message in page.messages], [("shop-bot", {"order": 7})])


if __name__ == "__main__":
    unittest.main()
