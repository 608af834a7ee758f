"""The shared cases: what the server does, and what every client of throng must do."""

from __future__ import annotations

import unittest

from .cases import Case, Mismatch, scripts
from .virtual import run


class Cases(unittest.TestCase):
    def test_every_case_holds(self) -> None:
        for name, case, defaults in scripts("python"):
            with self.subTest(name):
                run(Case(case, defaults).play())

    def test_a_case_can_fail(self) -> None:
        """Every kind of expectation notices a wrong one."""
        _, case, defaults = scripts("python")[0]
        wrong = [
            {"attempts": 2}, {"asked": {"room": "tea"}}, {"token": "x"}, {"state": {"name": "stopped"}},
            {"sent": "message", "are": [{}]}, {"events": "joined", "are": []}, {"rooms": []},
            {"fails": "connect", "code": "stopped"}, {"waits": "connect"}, {"returns": "send"},
        ]
        for step in wrong:
            with self.subTest(step), self.assertRaises((Mismatch, KeyError)):
                run(Case({**case, "steps": [{"welcome": {}}, step]}, defaults).play())


if __name__ == "__main__":
    unittest.main()
