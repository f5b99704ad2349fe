"""The replay memory: a ring that forgets the oldest."""

import numpy as np
import pytest
import torch

from exec_env.agents.replay import MultiStep, Replay


def filled(capacity: int, blocks: list[list[int]]) -> Replay:
    """Transition k has observation (k, k + ½), action k mod 3, reward −k, next observation (k + 1, 0); odd ones end."""
    replay = Replay(capacity, 2, torch.device("cpu"))
    for block in blocks:
        k = np.array(block, dtype=float)
        replay.add(
            np.stack([k, k + 0.5], axis=1).astype(np.float32),
            k.astype(int) % 3,
            -k,
            np.stack([k + 1, 0 * k], axis=1).astype(np.float32),
            k % 2 == 1,
        )
    return replay


def kept(replay: Replay) -> set[int]:
    batch = replay.sample(500, torch.Generator().manual_seed(0))
    return set(batch.observations[:, 0].int().tolist())


def test_a_transition_comes_back_whole_and_in_the_right_types() -> None:
    batch = filled(10, [[1, 2], [3, 4]]).sample(100, torch.Generator().manual_seed(0))
    k = batch.observations[:, 0]
    assert set(k.tolist()) == {1.0, 2.0, 3.0, 4.0}
    assert torch.equal(batch.observations[:, 1], k + 0.5)
    assert torch.equal(batch.actions, k.long() % 3)
    assert torch.equal(batch.rewards, -k)
    assert torch.equal(batch.next_observations, torch.stack([k + 1, 0 * k], dim=1))
    assert torch.equal(batch.terminated, k % 2)
    assert batch.actions.dtype == torch.int64
    assert batch.rewards.dtype == batch.terminated.dtype == torch.float32
    assert batch.actions.shape == batch.rewards.shape == batch.terminated.shape == (100,)


def test_the_newest_overwrite_the_oldest() -> None:
    assert kept(filled(4, [[1, 2], [3]])) == {1, 2, 3}
    assert kept(filled(4, [[1, 2], [3, 4]])) == {1, 2, 3, 4}
    assert kept(filled(4, [[1, 2, 3], [4, 5, 6]])) == {3, 4, 5, 6}
    assert kept(filled(4, [[1, 2, 3]] * 3 + [[7, 8, 9]])) == {3, 7, 8, 9}


def test_rows_that_were_never_written_are_never_sampled() -> None:
    replay = filled(1000, [[5]])
    assert replay.size == 1
    assert kept(replay) == {5}


def test_what_is_sampled_depends_on_the_generator_alone() -> None:
    replay = filled(100, [list(range(50))])
    one, again, other = (replay.sample(20, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one.observations, again.observations)
    assert not torch.equal(one.observations, other.observations)


@pytest.mark.parametrize("blocks", [[[1, 2]], [[1, 2, 3], [4, 5]], [[1, 2, 3], [4, 5, 6]]])
def test_a_memory_that_was_kept_goes_on_as_the_original_does(blocks: list[list[int]]) -> None:
    original, restored = filled(5, blocks), Replay(5, 2, torch.device("cpu"))
    restored.load_state_dict(original.state_dict())
    assert kept(restored) == kept(original)
    for replay in (original, restored):
        replay.add(np.full((2, 2), 9.0, np.float32), np.zeros(2), np.zeros(2), np.zeros((2, 2)), np.zeros(2, bool))
    a, b = (r.sample(50, torch.Generator().manual_seed(0)).observations for r in (original, restored))
    assert torch.equal(a, b)


def test_what_was_kept_does_not_change_with_the_memory() -> None:
    replay = filled(2, [[1, 2]])
    state = replay.state_dict()
    replay.add(np.full((2, 2), 9.0, np.float32), np.zeros(2), np.zeros(2), np.zeros((2, 2)), np.zeros(2, bool))
    assert state["rows"][:, 0].tolist() == [1.0, 2.0]


def test_the_memory_of_another_agent_is_refused() -> None:
    state = filled(5, [[1, 2, 3]]).state_dict()
    for capacity, n_observations in ((2, 2), (5, 3)):
        with pytest.raises(ValueError, match="replay memory in the checkpoint has another shape"):
            Replay(capacity, n_observations, torch.device("cpu")).load_state_dict(state)
    with pytest.raises(ValueError, match="another shape"):
        Replay(5, 2, torch.device("cpu")).load_state_dict({"rows": 3, "position": 0})


def test_transitions_of_three_slices_add_discounted_rewards_until_the_end() -> None:
    # Two environments; the second one's episode ends in the second slice.
    whole = MultiStep(3, gamma=0.5)
    made = [
        whole(
            np.full((2, 1), float(t)),
            np.array([t, t]),
            np.array([1.0, 10.0]) * 2**t,
            np.full((2, 1), t + 0.5),
            np.array([False, t == 1]),
        )
        for t in range(4)
    ]
    assert made[:2] == [None, None]
    observations, actions, rewards, following, terminated = made[2]
    assert observations.tolist() == [[0.0], [0.0]]
    assert actions.tolist() == [0, 0]
    assert rewards.tolist() == [1 + 0.5 * 2 + 0.25 * 4, 10 + 0.5 * 20]
    assert following.tolist() == [[2.5], [1.5]]
    assert terminated.tolist() == [False, True]
    assert made[3][2].tolist() == [2 + 0.5 * 4 + 0.25 * 8, 20.0]
    assert made[3][4].tolist() == [False, True]


def test_transitions_of_one_slice_stay_as_they_are() -> None:
    given = (np.zeros((2, 1)), np.array([0, 1]), np.array([1.0, 2.0]), np.ones((2, 1)), np.array([False, True]))
    made = MultiStep(1, gamma=0.9)(*given)
    assert made is not None
    assert all(a is b for a, b in zip(made, given, strict=True))
