"""Wrong options: one sentence that names the field, the value and what is allowed."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import exec_env
from exec_env.base.validation import Bounds, Count, Fraction, Positive, check_fields, from_mapping, unknown
from exec_env.envs.registry import get_spec
from exec_env.envs.single import ExecutionEnv


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"sharse": 1}, r"got an unexpected keyword argument 'sharse'; did you mean 'shares'\?"),
        ({"volatilty": 0.1}, r"got an unexpected keyword argument 'volatilty'; did you mean 'volatility'\?"),
        ({"shares": 0}, r"Order\.shares = 0: must be a finite number > 0"),
        ({"shares": -5.0}, r"Order\.shares = -5\.0: must be a finite number > 0"),
        ({"shares": float("nan")}, r"Order\.shares = nan: must be a finite number > 0"),
        ({"shares": float("inf")}, r"Order\.shares = inf: must be a finite number > 0"),
        ({"shares": "many"}, r"Order\.shares = 'many': must be a finite number > 0"),
        ({"shares": None}, r"Order\.shares = None: must be a finite number > 0"),
        ({"shares": True}, r"Order\.shares = True: must be a finite number > 0"),
        ({"shares": [1.0, 2.0]}, r"Order\.shares = \[1\.0, 2\.0\]: must be a finite number > 0"),
        ({"shares": 10**400}, r"Order\.shares = 1e400 or so: must be a finite number > 0"),
        ({"volatility": -0.1}, r"Market\.volatility = -0\.1: must be a finite number >= 0"),
        ({"volatility": float("nan")}, r"Market\.volatility = nan: must be a finite number >= 0"),
        ({"arrival_price": 0}, r"Market\.arrival_price = 0: must be a finite number > 0"),
        ({"volume_profile": "round"}, r"Market\.volume_profile = 'round': must be 'flat' or 'u-shaped'"),
        ({"shock_rate": 78.0}, r"Market\.shock_rate = 78\.0: must be below 78, one shock per slice"),
        ({"max_participation": 1.5}, r"Order\.max_participation = 1\.5: must be in \(0, 1\], or None"),
        ({"max_participation": 0}, r"Order\.max_participation = 0: must be in \(0, 1\], or None"),
        ({"n_steps": 1}, r"Order\.n_steps = 1: must be .*>= 2"),
        ({"n_steps": 2.5}, r"Order\.n_steps = 2\.5: must be a whole number >= 2"),
        ({"slice_length": 0.0}, r"Order\.slice_length = 0\.0: must be a finite number > 0"),
        ({"side": "hold"}, r"Order\.side = 'hold': must be 'sell' or 'buy'"),
        ({"side": None}, r"Order\.side = None: must be 'sell' or 'buy'"),
        ({"reward": "profit"}, r"(?i)reward.* = 'profit': must be 'expected' or 'shortfall'"),
        ({"violation_penalty": -1.0}, r"violation_penalty = -1\.0: must be a finite number >= 0"),
        ({"smoothness_penalty": float("nan")}, r"smoothness_penalty = nan: must be a finite number >= 0"),
        ({"action": "fractoin"}, r"unknown action 'fractoin'; did you mean 'fraction'"),
        ({"action": 3}, r"unknown action 3\. Known: fraction, pace"),
        ({"levels": [1.0]}, r"levels = \[1\.0\]: must be two or more different finite numbers >= 0"),
        ({"levels": [1.0, 1.0]}, r"levels = \[1\.0, 1\.0\]: must be two or more different"),
        ({"levels": [-1.0, 1.0]}, r"levels = \[-1\.0, 1\.0\]: must be .*>= 0"),
        ({"levels": [1.0, float("nan")]}, r"levels = \[1\.0, nan\]: must be .*finite"),
        ({"levels": 5}, r"levels = 5: must be two or more"),
        ({"action": "fraction", "levels": [0.0, 1.0]}, r"action 'fraction' has none; it must be 'pace' or"),
        ({"preset": "clasic"}, r"unknown preset 'clasic'; did you mean 'classic'"),
        ({"preset": 3}, r"unknown preset 3\. Known: almgren-2005, almgren-chriss-2001"),
        ({"tape": "none.csv"}, r"none\.csv: no such file"),
        ({"tape_columns": {"mid": "x"}}, r"tape_columns = \{'mid': 'x'\}: there is no tape"),
    ],
)
def test_an_impossible_option_is_one_clear_sentence(option: dict[str, Any], message: str) -> None:
    for make in (lambda: gym.make("AlmgrenChriss-v0", **option), lambda: gym.make_vec("AlmgrenChriss-v0", 2, **option)):
        with pytest.raises(ValueError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_an_unknown_render_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="render_mode = 'film': must be None or 'rgb_array'"):
        ExecutionEnv(render_mode="film")


def test_a_misspelt_id_is_refused_with_the_nearest() -> None:
    with pytest.raises(gym.error.NameNotFound, match="Did you mean: `AlmgrenChriss`"):
        gym.make("AlmgrenChris-v0")
    with pytest.raises(ValueError, match="unknown environment 'AlmgrenChris-v0'; did you mean 'AlmgrenChriss-v0'"):
        get_spec("AlmgrenChris-v0")


def test_numbers_are_normalised_to_plain_floats_and_ints() -> None:
    order = exec_env.Order(shares=np.float32(1000), n_steps=np.int64(10))
    assert type(order.shares) is float
    assert type(order.n_steps) is int


def test_nothing_leaves_an_interval_and_its_text_says_so() -> None:
    half_open = Bounds(0.0, 1.0, open_low=True)
    assert 1.0 in half_open
    assert 0.0 not in half_open
    assert float("nan") not in Bounds()
    assert float("inf") not in Bounds()
    assert np.array([0.5, 1.0]) in half_open
    assert np.array([0.5, np.nan]) not in half_open
    assert [str(b) for b in (half_open, Bounds(0.0, 1.0), Bounds(2), Bounds())] == [
        "in (0, 1]",
        "in [0, 1]",
        "a finite number >= 2",
        "a finite number",
    ]


@dataclass(frozen=True)
class _Example:
    size: Positive = 1.0
    counts: tuple[Count, ...] = (1,)
    share: Fraction | None = None
    on: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


def test_a_mapping_from_a_file_becomes_a_dataclass() -> None:
    read = from_mapping(_Example, {"size": 2, "counts": [3, 4], "share": 0.5, "on": False}, "file.yaml")
    assert read == _Example(2.0, (3, 4), 0.5, False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "file.yaml: expected fields of _Example, found NoneType"),
        ([1], "file.yaml: expected fields of _Example, found list"),
        ({"sise": 1}, "file.yaml: unknown field of _Example 'sise'; did you mean 'size'"),
        ({"size": "big"}, r"file.yaml: _Example\.size = 'big': must be a finite number > 0"),
        ({"counts": 3}, r"file.yaml: _Example\.counts = 3: must be a sequence"),
        ({"counts": "34"}, r"file.yaml: _Example\.counts = '34': must be a sequence"),
        ({"counts": [0]}, r"file.yaml: _Example\.counts = \[0\]: must be .*>= 1"),
        ({"share": 0.0}, r"file.yaml: _Example\.share = 0\.0: must be in \(0, 1\], or None"),
        ({"on": 1}, r"file.yaml: _Example\.on = 1: must be a bool"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_by_file_and_field(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_mapping(_Example, values, "file.yaml")


def test_an_unknown_name_far_from_every_known_one_lists_them_all() -> None:
    assert unknown("preset", "zzz", ["b", "a"]) == "unknown preset 'zzz'. Known: a, b"
