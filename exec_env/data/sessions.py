"""Placeholder."""

from typing import Any


class Session:
    hours = 6.5

    @classmethod
    def parse(cls, text: str, zone: str) -> "Session":
        raise NotImplementedError

    def inside(self, time: Any) -> Any: ...
