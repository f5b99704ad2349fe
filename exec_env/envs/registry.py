"""The one table of environments: registration, tests, sweeps and documents iterate over it."""

from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym

from exec_env.base.errors import InputError
from exec_env.base.validation import unknown


@dataclass(frozen=True)
class EnvSpec:
    """One row: what ``gym.make(id)`` starts from."""

    description: str
    preset: str = "default"
    action: str | None = None  # None: the preset's, else pace

    def kwargs(self) -> dict[str, Any]:
        """Arguments of the environment's constructor."""
        return {k: v for k, v in asdict(self).items() if k != "description"}


ENVIRONMENTS: dict[str, EnvSpec] = {
    "AlmgrenChriss-v0": EnvSpec("random liquidity, spread and impact; eleven paces, level 1 being TWAP"),
    "AlmgrenChrissContinuous-v0": EnvSpec("the same, steered by the fraction of what is left", action="fraction"),
    "AlmgrenChrissClassic-v0": EnvSpec(
        "no randomness but the price: the closed form is optimal", preset="classic", action="fraction"
    ),
    "AlmgrenChrissLiquidityCollapse-v0": EnvSpec("liquidity falls to a fifth half-way", preset="liquidity-collapse"),
    "AlmgrenChrissVolatilitySpike-v0": EnvSpec("volatility triples half-way", preset="volatility-spike"),
    "AlmgrenChrissImpactRegimeShift-v0": EnvSpec("impact triples half-way", preset="impact-regime-shift"),
    "AlmgrenChrissLiquidityShocks-v0": EnvSpec("liquidity falls at random and recovers", preset="liquidity-shocks"),
    "AlmgrenChrissRegimeSwitching-v0": EnvSpec(
        "a poor regime comes and goes: liquidity × 0.3, volatility × 2", preset="regime-switching"
    ),
    "AlmgrenChrissExtremeShock-v0": EnvSpec("liquidity falls to a tenth half-way", preset="extreme-shock"),
}


def get_spec(env_id: str) -> EnvSpec:
    """The row of an id; ``exec_env:Id-v0`` is accepted too.

    Raises:
        InputError: with the nearest known id.
    """
    env_id = env_id.removeprefix("exec_env:")
    if env_id not in ENVIRONMENTS:
        raise InputError(unknown("environment", env_id, ENVIRONMENTS))
    return ENVIRONMENTS[env_id]


def register() -> None:
    """Register every row with Gymnasium; done on ``import exec_env``."""
    for env_id, spec in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="exec_env.envs.single:ExecutionEnv",
                vector_entry_point="exec_env.envs.vector:ExecutionVectorEnv",
                kwargs=spec.kwargs(),
            )
