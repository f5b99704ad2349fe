"""Multiples of a step: whole lots of shares, ticks of a price. Floats, NumPy arrays and torch tensors alike."""

import sys
from fractions import Fraction
from typing import Any, NamedTuple

from exec_env.base.namespace import namespace

_ROUNDINGS = 8  # of numbers one after the other, which may leave a multiple just below itself


class Multiples(NamedTuple):
    """k · step for whole k, each the number nearest to what is written: 3 · 0.1 is 0.3.

    >>> 3 * 0.1, Multiples.of(0.1).nearest(3 * 0.1), Multiples.of(0.1).down(0.1 + 0.2)
    (0.30000000000000004, 0.3, 0.3)

    Gradients of tensors go straight through: a multiple moves as the number that it was made from.
    """

    numerator: float
    """Of the step as it is written, a decimal fraction."""
    denominator: float

    @classmethod
    def of(cls, step: float) -> "Multiples":
        """Those of a step > 0."""
        written = Fraction(repr(float(step)))
        return cls(float(written.numerator), float(written.denominator))

    def down(self, x: Any) -> Any:
        """The largest multiple that is not above x."""
        return self._whole(x, namespace(x).floor(self._steps(x) * (1.0 + _rounding(x))))

    def up(self, x: Any) -> Any:
        """The least multiple that is not below x."""
        return self._whole(x, -namespace(x).floor(self._steps(x) * (_rounding(x) - 1.0)))

    def nearest(self, x: Any) -> Any:
        """The nearest multiple."""
        return self._whole(x, namespace(x).floor(self._steps(x) + 0.5))

    def _steps(self, x: Any) -> Any:
        return x * self.denominator / self.numerator

    def _whole(self, x: Any, k: Any) -> Any:
        return namespace(x).straight_through(k * self.numerator / self.denominator, x)


def _rounding(x: Any) -> float:
    """What is rounding, relative to numbers of this precision."""
    eps = sys.modules["torch"].finfo(x.dtype).eps if hasattr(x, "detach") else sys.float_info.epsilon
    return _ROUNDINGS * eps
