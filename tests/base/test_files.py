"""Files of a run: whole or not at all, and read without running what they contain."""

import contextlib
import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exec_env.base.errors import InputError
from exec_env.base.files import (
    free_folder,
    new_folder,
    read_array,
    read_tensors,
    read_yaml,
    write_tensors,
    write_text,
    write_yaml,
)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_yaml_comes_back_as_it_was_written(tmp_path: Path) -> None:
    values = {"b": 1, "a": [0.1, 1e-7, None, True], "σ": "text"}
    write_yaml(tmp_path / "file.yaml", values)
    assert read_yaml(tmp_path / "file.yaml") == values
    assert list(read_yaml(tmp_path / "file.yaml")) == list(values)


def test_tensors_come_back_bit_by_bit(tmp_path: Path) -> None:
    values: dict[str, Any] = {"w": torch.randn(3, 4), "nested": {"n": 3, "g": torch.Generator().get_state()}}
    write_tensors(tmp_path / "file.pt", values)
    read = read_tensors(tmp_path / "file.pt")
    assert torch.equal(read["w"], values["w"])
    assert torch.equal(read["nested"]["g"], values["nested"]["g"])
    assert read["nested"]["n"] == 3


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    write_yaml(tmp_path / "file.yaml", {"a": 1})
    with pytest.raises(Exception, match="cannot represent"):
        write_yaml(tmp_path / "file.yaml", {"a": object()})
    write_tensors(tmp_path / "file.pt", {"a": 1})
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        write_tensors(tmp_path / "file.pt", {"a": lambda: None})
    assert read_yaml(tmp_path / "file.yaml") == {"a": 1}
    assert read_tensors(tmp_path / "file.pt") == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch {marker}']",
        "a: !!python/object/new:os.system ['touch {marker}']",
        "a: !!python/name:os.system",
        "!!python/object/apply:os.system ['touch {marker}']",
    ],
)
def test_yaml_that_would_run_code_is_refused_and_not_run(text: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "file.yaml").write_text(text.format(marker=marker))
    with pytest.raises(ValueError, match=r"file\.yaml: not a configuration") as caught:
        read_yaml(tmp_path / "file.yaml")
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("save", [lambda v, f: torch.save(v, f), lambda v, f: pickle.dump(v, f)])
def test_weights_that_would_run_code_are_refused_and_not_run(save: Callable[[Any, Any], None], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with (tmp_path / "file.pt").open("wb") as file:
        save({"weight": Malicious(marker)}, file)
    with pytest.raises(ValueError, match=r"file\.pt: corrupt, or not a file of weights") as caught:
        read_tensors(tmp_path / "file.pt")
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    with (tmp_path / "file.pt").open("rb") as file, contextlib.suppress(RuntimeError):
        torch.load(file, weights_only=False)
    assert marker.exists(), "the trap itself works"


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", bytes(range(256)), b"weights"])
def test_a_corrupt_file_is_named_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    for name, read in (("file.pt", read_tensors), ("file.yaml", read_yaml)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: ") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_truncated_file_of_weights_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    write_tensors(tmp_path / "whole.pt", {"w": torch.zeros(100, 100)})
    whole = (tmp_path / "whole.pt").read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "file.pt").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ValueError, match=r"file\.pt: corrupt, or not a file of weights"):
            read_tensors(tmp_path / "file.pt")


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "file.pt")
    with pytest.raises(ValueError, match="not a file of weights: it holds a list"):
        read_tensors(tmp_path / "file.pt")
    for text in ("", "- 1\n- 2", "just text"):
        (tmp_path / "file.yaml").write_text(text)
        with pytest.raises(ValueError, match="not a configuration: it holds no fields"):
            read_yaml(tmp_path / "file.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pt: no such file"):
        read_tensors(tmp_path / "none.pt")
    with pytest.raises(ValueError, match=r"none\.yaml: no such file; is .* a run folder\?"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="not a configuration"):
        read_yaml(tmp_path)
    with pytest.raises(ValueError, match="not a file of weights"):
        read_tensors(tmp_path)


def test_a_folder_is_created_once_and_a_free_one_is_found(tmp_path: Path) -> None:
    first = free_folder(tmp_path / "runs" / "dqn")
    assert first == tmp_path / "runs" / "dqn-1"
    assert not first.exists()
    assert new_folder(first).is_dir()
    assert free_folder(tmp_path / "runs" / "dqn") == tmp_path / "runs" / "dqn-2"
    with pytest.raises(ValueError, match="dqn-1 exists: choose another folder"):
        new_folder(first)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file/run: cannot be created"):
        new_folder(tmp_path / "file" / "run")
    with pytest.raises(ValueError, match="file exists"):
        new_folder(tmp_path / "file")


@pytest.mark.slow
def test_one_flipped_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    write_tensors(tmp_path / "whole.pt", {"w": torch.arange(8.0)})
    whole = (tmp_path / "whole.pt").read_bytes()
    assert torch.equal(torch.load(tmp_path / "whole.pt", weights_only=True)["w"], torch.arange(8.0)), "torch's own file"
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (tmp_path / "file.pt").write_bytes(flipped)
        with pytest.raises(InputError, match=r"file\.pt: corrupt, or not a file of weights: its checksum"):
            read_tensors(tmp_path / "file.pt")


def test_weights_of_before_checksums_are_read(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(8.0)}, tmp_path / "file.pt")
    assert torch.equal(read_tensors(tmp_path / "file.pt")["w"], torch.arange(8.0))


@pytest.mark.parametrize("read", [read_yaml, read_tensors, read_array])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(InputError, match="file: .*: no regular file"):
        read(tmp_path / "file")
    with pytest.raises(InputError, match="zero: .*: no regular file"):
        read(Path("/dev/zero"))
    with pytest.raises(InputError, match="null"):
        read(Path("a\0b"))


def test_a_disk_that_is_full_is_one_sentence_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "file.txt", "old")

    def full(path: Path, _: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    for write in (lambda p: write_text(p, "new"), lambda p: write_yaml(p, {}), lambda p: write_tensors(p, {})):
        with pytest.raises(InputError, match=r"file\.txt: cannot be written: No space left on device"):
            write(tmp_path / "file.txt")
    assert (tmp_path / "file.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.arange(3, dtype=np.float32))
    assert read_array(tmp_path / "good.npy").tolist() == [0.0, 1.0, 2.0]
    np.save(tmp_path / "objects.npy", np.array([Malicious(tmp_path / "marker")]), allow_pickle=True)
    np.save(tmp_path / "texts.npy", np.array(["a"]))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-1])
    (tmp_path / "none.npy").write_bytes(b"")
    for name in ("objects", "texts", "cut", "none"):
        with pytest.raises(InputError, match=rf"{name}\.npy: corrupt, or not a file of numbers"):
            read_array(tmp_path / f"{name}.npy")
    assert not (tmp_path / "marker").exists()
