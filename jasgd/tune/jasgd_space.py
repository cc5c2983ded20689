"""The methods of this package and their knobs as a search space."""

from typing import TYPE_CHECKING, Any

from jasgd.fleet import Fleet
from jasgd.tune.space import Knob, space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace


def jasgd_space(fleet: Fleet, *, learning_rate: tuple[float, float] = (1e-4, 1.0), seed: int = 0) -> "ConfigurationSpace":
    """Methods of :mod:`jasgd.methods` that suit any problem, with the knobs that their papers leave open.

    The method is the meta variable. FedBuff's buffer is searched as a fraction of how many clients are at work; rescaled SGD
    has a second level: the source of its times decides whether there is a normaliser.

    Args:
      fleet: its size bounds some of the knobs. Only if its times are fixed can methods use them.
      learning_rate: from, to.
      seed: of the samples.

    Example:
      >>> space = jasgd.tune.jasgd_space(jasgd.fleet.power_law(8, exponent=1.0))
      >>> sorted(space["method"].choices)[:3]
      ['ascd', 'asynchronous_sgd', 'aszd']
    """
    n = fleet.num_workers
    if n < 2:
        raise ValueError(f"the space is for two workers or more, got {n}.")
    workers = {"low": 1, "high": n, "log": n > 8}
    gradients = {"low": 1, "high": 4 * n, "log": True}
    momentum = {"momentum": {"low": 0.0, "high": 0.99}}
    source: dict[str, Any] = {"duration": {}, "delay": {}}
    fixed: dict[str, dict[str, Knob]] = {}
    if fleet.times is not None and not fleet.powers:
        source = {"times": {"normaliser": ["harmonic", "arithmetic", "max"]}, **source}
        fixed = {"naive_optimal": {"workers": workers}}
    low, high = learning_rate
    return space(
        {
            "learning_rate": {"low": float(low), "high": float(high), "log": True},
            "method": {
                "asynchronous_sgd": {},
                "delay_adaptive_sgd": {},
                "ringmaster": {"threshold": gradients},
                "rennala": {"batch": gradients},
                "m_synchronous_sgd": {"m": workers},
                "fedbuff": {"concurrency": workers, "buffer": {"fraction_of": "concurrency"}},
                "ormo": momentum,
                "worker_momentum": momentum,
                "rescaled_sgd": {"source": source},
                "clipped_sgd": {"max_norm": {"low": 0.1, "high": 100.0, "log": True}},
                "dc_asgd": {"strength": {"low": 1e-3, "high": 10.0, "log": True}},
                "ascd": {},
                "aszd": {"mu": {"low": 1e-3, "high": 1.0, "log": True}},
                **fixed,
            },
        },
        seed=seed,
    )
