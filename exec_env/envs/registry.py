"""The one table of environments: registration, tests, sweeps and documents iterate over it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from exec_env.base.errors import InputError
from exec_env.base.importing import import_module, imported, path_of
from exec_env.base.validation import shown, unknown
from exec_env.envs.factory import ONE_ASSET, build_problem

if TYPE_CHECKING:  # it imports pandas and SciPy, and to register takes neither
    from exec_env.envs.problem import Problem

_SINGLE, _VECTOR = "exec_env.envs.single:ExecutionEnv", "exec_env.envs.vector:ExecutionVectorEnv"


_UNKNOWN_MARKET = "exec_env.unknown_market.options:make_problem"
_ID = re.compile(r"[\w.-]+-v\d+")


@dataclass(frozen=True)
class EnvSpec:
    """One row: what ``gym.make(id)`` starts from."""

    description: str
    options: dict[str, Any] = field(default_factory=dict)
    """Of the factory."""
    problem: str = ONE_ASSET
    """Import path of the factory."""

    def kwargs(self) -> dict[str, Any]:
        """Arguments of the environment's constructor."""
        return self.options | ({} if self.problem == ONE_ASSET else {"problem": self.problem})


def _row(description: str, preset: str = "default", **options: Any) -> EnvSpec:
    return EnvSpec(description, {"preset": preset} | options)


ENVIRONMENTS: dict[str, EnvSpec] = {
    "AlmgrenChriss-v0": _row("random liquidity, spread and impact; eleven paces, level 1 being TWAP"),
    "AlmgrenChrissContinuous-v0": _row("the same, steered by the fraction of what is left", action="fraction"),
    "AlmgrenChrissClassic-v0": _row(
        "no randomness but the price: the closed form is optimal", "classic", action="fraction"
    ),
    "AlmgrenChrissHidden-v0": _row(
        "liquidity shows only in noisy spreads, and volumes when they are past",
        information="hidden",
        volume_noise=0.6,
        spread_noise=0.5,
    ),
    "AlmgrenChrissLiquidityCollapse-v0": _row("liquidity falls to a fifth half-way", "liquidity-collapse"),
    "AlmgrenChrissVolatilitySpike-v0": _row("volatility triples half-way", "volatility-spike"),
    "AlmgrenChrissImpactRegimeShift-v0": _row("impact triples half-way", "impact-regime-shift"),
    "AlmgrenChrissLiquidityShocks-v0": _row("liquidity falls at random and recovers", "liquidity-shocks"),
    "AlmgrenChrissRegimeSwitching-v0": _row(
        "a poor regime comes and goes: liquidity × 0.3, volatility × 2", "regime-switching"
    ),
    "AlmgrenChrissExtremeShock-v0": _row("liquidity falls to a tenth half-way", "extreme-shock"),
    "AlmgrenChrissUnknown-v0": EnvSpec(
        "ten orders in a market whose impact is drawn once and not told", problem=_UNKNOWN_MARKET
    ),
}


def register(env_id: str, problem: "str | Callable[..., Problem]" = "default", **options: Any) -> None:
    """Make an id of one's own, which works in every function and command line.

    Args:
        env_id: such as "MyExec-v0". A command line takes "module:MyExec-v0", and imports the module that registers it.
        problem: a preset, such as "liquidity-collapse"; or a factory of a ``Problem``, or its import path
            "module:factory".
        **options: of the problem; ``gym.make(env_id, **others)`` overrides them.

    Raises:
        InputError: for an id that is taken, or a problem that cannot be made.

    Example:
        ``exec_env.register("SmallOrder-v0", "classic", shares=1000.0)``, then ``gym.make("SmallOrder-v0")``.
    """
    if not isinstance(env_id, str) or not _ID.fullmatch(env_id):
        raise InputError(f"env_id = {env_id!r}: must be a name and a version, such as 'MyExec-v0'")
    if isinstance(problem, str) and problem == "default":
        problem = options.pop("preset", problem)
    if callable(problem):
        problem = path_of(problem, "problem")
    if not isinstance(problem, str):
        raise InputError(
            f"problem = {problem!r}: must be a preset, a factory or the import path of one, module:factory"
        )
    if ":" in problem:
        spec = EnvSpec(f"registered from {problem}", options, problem)
    else:
        spec = _row(f"preset {problem}", problem, **options)
    if ((known := ENVIRONMENTS.get(env_id)) is not None and known != spec) or (
        known is None and env_id in gym.registry
    ):
        raise InputError(f"env_id = {env_id!r}: is registered already; choose another name")
    build_problem(spec.problem, dict(spec.options), "register")
    _register(env_id, spec)
    ENVIRONMENTS[env_id] = spec


def register_all() -> None:
    """Register every row with Gymnasium; done on ``import exec_env``."""
    for env_id, spec in ENVIRONMENTS.items():
        _register(env_id, spec)


def _register(env_id: str, spec: EnvSpec) -> None:
    if env_id not in gym.registry:
        gym.register(env_id, entry_point=_SINGLE, vector_entry_point=_VECTOR, kwargs=spec.kwargs())


def make_vec(
    env_id: str, num_envs: int = 1, wrappers: Sequence[Callable[..., Any]] = (), **options: Any
) -> gym.vector.VectorEnv:
    """The native vector environment in wrappers, or single environments in theirs, side by side.

    ``gymnasium.make_vec`` takes no wrappers beside a native vector environment.

    Args:
        env_id: a registered id.
        num_envs: how many sub-environments.
        wrappers: classes (or ``functools.partial`` of them) of vector environments, around the native one; or wrappers
            of single environments, which then step one by one.
        **options: of the problem; ``autoreset_mode``, unless single environments are wrapped.

    Raises:
        InputError: for wrappers of both kinds.
    """
    if not isinstance(env_id, str | gym.envs.registration.EnvSpec):
        raise InputError(f"env_id = {shown(env_id)}: must be the id of an environment, such as 'AlmgrenChriss-v0'")
    if isinstance(wrappers, str) or not isinstance(wrappers, Sequence) or not all(map(callable, wrappers)):
        raise InputError(f"wrappers = {shown(wrappers)}: must be a list of wrappers")
    of_many = [_wraps_vectors(wrapper) for wrapper in wrappers]
    if wrappers and not any(of_many):
        return gym.make_vec(env_id, num_envs, vectorization_mode="sync", wrappers=wrappers, **options)
    if not all(of_many):
        raise InputError("wrappers: are partly of vector and partly of single environments; give one kind")
    env = gym.make_vec(env_id, num_envs, **options)
    for wrapper in wrappers:
        env = wrapper(env)
    return env


def _wraps_vectors(wrapper: Any) -> bool:
    made = getattr(wrapper, "func", wrapper)  # of functools.partial
    return isinstance(made, type) and issubclass(made, gym.vector.VectorWrapper)


def get_spec(env_id: str) -> EnvSpec:
    """The row of an id. ``module:Id-v0`` imports the module first; an id made with ``gym.register`` is known too.

    Raises:
        InputError: with the nearest known id.
    """
    if not isinstance(env_id, str):
        raise InputError(f"env_id = {env_id!r}: must be the id of an environment, such as 'AlmgrenChriss-v0'")
    module, _, name = env_id.rpartition(":")
    if module and module != "exec_env":
        import_module(module, f"environment {env_id!r}")
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]
    if name in gym.registry:
        return _from_gymnasium(name)
    raise InputError(unknown("environment", env_id, ENVIRONMENTS))


def _from_gymnasium(env_id: str) -> EnvSpec:
    """The row of an id that was made with ``gym.register``: of our environment, or one derived from it."""
    from exec_env.envs.single import ExecutionEnv

    spec = gym.registry[env_id]
    entry = spec.entry_point
    entry = imported(entry, f"environment {env_id!r}") if isinstance(entry, str) else entry
    if not (isinstance(entry, type) and issubclass(entry, ExecutionEnv)):
        raise InputError(f"environment {env_id!r}: is not one of exec_env, whose entry point is {_SINGLE!r}")
    if spec.max_episode_steps is not None:
        raise InputError(f"environment {env_id!r}: max_episode_steps cuts episodes short of their end; give n_steps")
    options = dict(spec.kwargs)
    return EnvSpec(f"registered with Gymnasium as {env_id}", options, options.pop("problem", ONE_ASSET))


def problem_of(env_id: str, **options: Any) -> "Problem":
    """The problem behind an id, with options over its own.

    Raises:
        InputError: as ``get_spec`` and ``build_problem``.
    """
    spec = get_spec(env_id)
    return build_problem(spec.problem, spec.options | options, "make")
