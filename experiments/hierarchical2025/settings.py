"""The spaces and functions of the figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

WORKERS, SECONDS = 64, 400.0
FLEET = jasgd.fleet.fixed(0.2 * np.arange(1, WORKERS + 1) ** 1.2)


def problem() -> jasgd.Problem:
    """f(x) = sum of h_i x_i^2 / 2 with h from 0.02 to 1, from 3 in every coordinate, gradients with noise 0.3."""
    h = jnp.linspace(0.02, 1.0, 50)
    return jasgd.Problem(
        init=lambda _: 3 * jnp.ones(50),
        loss=lambda x, z: 0.5 * x @ (h * x) + z @ x,
        sample=lambda key, _: 0.3 * jax.random.normal(key, (50,)),
        metrics=lambda x: {"loss": 0.5 * x @ (h * x), "grad_norm": jnp.linalg.norm(h * x)},
        name="quadratic(dim=50, eigenvalues 0.02 to 1, noise=0.3)",
    )


def methods_space() -> "ConfigurationSpace":
    """Eight methods; those of the toy have its ranges."""
    gradients = {"low": 1, "high": 256, "log": True}
    return jasgd.tune.space(
        {
            "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
            "method": {
                "asynchronous_sgd": {},
                "delay_adaptive_sgd": {},
                "ringmaster": {"threshold": gradients},
                "rennala": {"batch": gradients},
                "m_synchronous_sgd": {"m": {"low": 1, "high": WORKERS}},
                "ormo": {"momentum": {"low": 0.0, "high": 0.99}},
                "buffered_sgd": {"buffer": {"low": 1, "high": 32}},
                "rescaled_sgd": {"source": {"times": {"normaliser": ["harmonic", "arithmetic"]}, "delay": {}}},
            },
        }
    )


def buffered_sgd(fleet: jasgd.fleet.Fleet, updates: int, *, learning_rate: float, buffer: int) -> jasgd.methods.Method:
    """The mean of so many gradients is one update; every worker goes on at once."""
    schedule = jasgd.protocols.buffered(fleet, updates, buffer, assignment="own")
    return jasgd.methods.Method(name="buffered SGD", schedule=schedule, rule=optax.sgd(learning_rate), reference="")


def network_space() -> "ConfigurationSpace":
    """The space of ``HierarchicalNeuralNetwork``, as in SMT's code: layers decide about the last two variables."""
    whole = {"low": 0, "high": 5}
    return jasgd.tune.space(
        {
            "x0": {1: {}, 2: {"x6": whole}, 3: {"x6": whole, "x7": whole}},
            "x1": {"low": -5.0, "high": 2.0},
            "x2": {"low": -5.0, "high": 2.0},
            "x3": [8, 16, 32, 64, 128, 256],
            "x4": ["ReLU", "SELU", "ISRLU"],
            "x5": whole,
        }
    )


def network(point: Mapping[str, Any]) -> float:
    """The function of the same name, as in SMT's code."""
    x1, x2, x3 = point["x1"], point["x2"], point["x3"]
    base = {"ReLU": 2 * x1 + x2 - x3 / 2, "SELU": -x1 + 2 * x2 - x3 / 2, "ISRLU": -x1 + x2 + x3 / 2}[point["x4"]]
    more = (0.3 * point["x6"] if point["x0"] >= 2 else 0.0) - (0.1 * point["x7"] ** 3 if point["x0"] == 3 else 0.0)
    return float(base + point["x5"] ** 2 + more)


def toy_space() -> "ConfigurationSpace":
    """Four methods with at most one knob each, and a step size."""
    methods = {
        "asgd": {},
        "ringmaster": {"log_threshold": {"low": 0.0, "high": 8.0}},
        "ormo": {"momentum": {"low": 0.0, "high": 0.99}},
        "fedbuff": {"buffer": {"low": 1, "high": 32}},
    }
    return jasgd.tune.space({"log_step": {"low": -4.0, "high": 0.0}, "method": methods})


def toy(point: Mapping[str, Any]) -> float:
    """A function of our own with the smallest value -3, for ringmaster at log_step -2 and log_threshold 5."""
    step = point["log_step"]
    match point["method"]:
        case "asgd":
            return -1.0 + 1.2 * (step + 3) ** 2
        case "ringmaster":
            return -3.0 + 1.2 * (step + 2) ** 2 + 0.15 * (point["log_threshold"] - 5) ** 2
        case "ormo":
            return -2.5 + 1.2 * (step + 2.5 + point["momentum"]) ** 2 + 3 * (point["momentum"] - 0.8) ** 2
        case _:
            return -2.0 + 1.2 * (step + 2.2) ** 2 + 0.004 * (point["buffer"] - 9) ** 2
