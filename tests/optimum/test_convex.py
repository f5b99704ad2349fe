"""Convex programs over shares that add up to one: hand-solved cases and the conditions of the least point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exec_env.optimum.convex import NotConvex, Program, check, minimise


def program(slope: list[float], power: float = 2.0, **other: np.ndarray) -> Program:
    """Σ slope y^power, and what is given beside it."""
    n = len(slope)
    fields = {"linear": np.zeros(n), "quadratic": np.zeros((n, n)), "upper": np.full(n, np.inf)} | other
    return Program(coefficients=np.array(slope), arguments=np.eye(n), power=power, **fields)


def test_squares_are_shared_in_proportion_to_what_they_cost_least() -> None:
    np.testing.assert_allclose(minimise(program([1.0, 2.0, 4.0])), np.array([4, 2, 1]) / 7, atol=1e-10)


@pytest.mark.parametrize("power", [1.1, 1.5, 1.6, 2.5, 3.0])
def test_powers_are_shared_so_that_marginal_costs_are_equal(power: float) -> None:
    slope = np.array([1.0, 2.0, 4.0])
    wanted = slope ** (-1 / (power - 1))
    np.testing.assert_allclose(minimise(program(slope.tolist(), power)), wanted / wanted.sum(), atol=1e-7)


def test_what_costs_too_much_is_left_out_and_what_is_full_stays_full() -> None:
    dear = program([1.0, 1.0, 1.0], linear=np.array([0.0, 0.0, 9.0]))
    np.testing.assert_allclose(minimise(dear), [0.5, 0.5, 0.0], atol=1e-10)
    full = program([1.0, 1.0, 1.0], upper=np.array([0.1, np.inf, np.inf]))
    np.testing.assert_allclose(minimise(full), [0.1, 0.45, 0.45], atol=1e-10)


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), power=st.sampled_from([1.5, 1.6, 2.0, 2.5]))
def test_no_other_point_is_lower(seed: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((6, 6))
    upper = np.where(rng.random(6) < 0.5, rng.uniform(0.05, 0.3, 6), np.inf)
    upper[0] = np.inf
    slope, linear = rng.uniform(0.1, 1, 6), rng.standard_normal(6)
    one = program(slope.tolist(), power, linear=linear, quadratic=root @ root.T, upper=upper)
    best = minimise(one)
    assert best.sum() == pytest.approx(1.0)
    assert (best >= 0).all()
    assert (best <= upper + 1e-9).all()
    # Nothing is gained by giving from what is above its floor to what is below its limit.
    slopes = one.gradient(best)
    assert slopes[best > 1e-6].max() < slopes[best < upper - 1e-6].min() + 1e-5


def test_the_gradient_is_that_of_the_value() -> None:
    one, y = program([1.0, 3.0], 1.6, linear=np.array([0.3, 0.1])), np.array([0.4, 0.6])
    for i, step in enumerate(1e-6 * np.eye(2)):
        assert one.gradient(y)[i] == pytest.approx((one.value(y + step) - one.value(y - step)) / 2e-6)


def test_what_is_not_convex_across_the_sum_is_refused_and_along_it_is_not() -> None:
    across = np.array([[0.0, 3.0], [3.0, 0.0]])  # least at either end
    with pytest.raises(NotConvex, match="not convex"):
        check(program([1.0, 1.0], quadratic=across))
    with pytest.raises(NotConvex):
        check(program([0.0, 0.0]))
    along = program([1.0, 1.0], quadratic=-np.full((2, 2), 50.0))
    check(along)
    np.testing.assert_allclose(minimise(along), [0.5, 0.5], atol=1e-10)
