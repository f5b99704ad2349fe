"""Files of hyper-parameters: what cannot be meant is refused by name."""

from pathlib import Path

import pytest

from exec_env.harness.training import hyperparameters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: 3", "default = 3: must be a mapping of names to values"),
        ("search: 4", "search = 4: must be a mapping"),
        ("default: {train: [1]}", r"default: train = \[1\]: must be a mapping"),
        ("default: {train: {env: AlmgrenChriss-v0}}", "default: unknown field of TrainConfig 'env'"),
        ("default: {trian: {}}", "default: unknown part 'trian'; did you mean 'train'"),
        ("AlmgrenChris-v0: {}", "unknown section 'AlmgrenChris-v0'; did you mean"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_in_one_sentence(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ppo.yaml"
    path.write_text(text)
    monkeypatch.setattr(hyperparameters, "_path", lambda agent: path)
    with pytest.raises(ValueError, match=rf"ppo\.yaml: {message}") as error:
        hyperparameters.settings("ppo")
    assert "\n" not in str(error.value)
