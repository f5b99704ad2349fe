"""YAML of users: one sentence for what no configuration is, whatever is written to hurt."""

import pytest

from exec_env.base.errors import InputError
from exec_env.base.plain_yaml import LONGEST, parse, yaml_value

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(9 * [f'*{before}'])}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_an_alias_is_taken_and_a_merged_key_may_be_overridden() -> None:
    text = "base: &base {steps: 10, seed: 0}\nrun: {<<: *base, seed: 1}\nagain: *base"
    found = parse(text, "file")
    assert found["run"] == {"steps": 10, "seed": 1}
    assert found["again"] == {"steps": 10, "seed": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("steps: 1\nseed: 0\nsteps: 2", "the key 'steps' a second time, after line 1 in line 3, column 1"),
        ("train: {steps: 1, 'steps': 2}", "the key 'steps' a second time, after line 1"),
        ("1: a\n1.0: b", "the key '1.0' a second time"),
        (BOMB, "more than 1,048,576 characters, its aliases in full"),
        ("a: &a [*a]", "an alias to what it stands in"),
        (41 * "[" + 41 * "]", "more than 40 levels"),
        ("[" * 100_000, "more than 40 levels"),
        ("a" * (LONGEST + 1), "262,145 characters; at most 262,144 are read"),
        ("a: 2024-02-31", "day is out of range for month"),
        ("a: " + 5000 * "1", "4300 digits"),
        ("? [1]\n: 2", "found unhashable key"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: !!timestamp x", "file: "),
        ("a: \0", "unacceptable character"),
        ("--- 1\n--- 2", "expected a single document"),
    ],
)
def test_what_could_hurt_is_one_short_sentence(text: str, why: str) -> None:
    with pytest.raises(InputError, match="file: ") as raised:
        parse(text, "file")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_value_is_named_with_what_was_typed() -> None:
    assert yaml_value("[1, 0.5, a]", "--set x") == [1, 0.5, "a"]
    with pytest.raises(InputError, match=r"--set x = '\[1': no value: "):
        yaml_value("[1", "--set x")


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    message = str(InputError(f"field = {'x' * 10**6}: must be short"))
    assert len(message) == 2000
    assert message.startswith("field = xxx")
    assert message.endswith("xxx: must be short")
