"""What an environment pays."""

import pytest

from exec_env.envs.reward import Reward


@pytest.mark.parametrize(("field", "value"), [("violation_penalty", -1), ("smoothness_penalty", "x")])
def test_an_impossible_reward_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"Reward.{field} = "):
        Reward(**{field: value})
