"""Spaces and objectives with known answers that several tests of the tuner share."""

import numpy as np

import jasgd
from experiments.hierarchical2025.settings import network, network_space, toy, toy_space

__all__ = [
    "TOY_OPTIMUM",
    "distance",
    "network",
    "network_space",
    "perceptron",
    "perceptron_space",
    "toy",
    "toy_space",
    "toys",
]

TOY_OPTIMUM = -3.0


def toys(points):
    return [toy(point) for point in points]


def perceptron_space():
    """SMT's test of a design space graph, as in its code."""
    from ConfigSpace import ForbiddenAndConjunction, ForbiddenEqualsClause, ForbiddenInClause

    neurons = [25, 30, 35, 40, 45]
    unit = {"low": 0.0, "high": 1.0}
    space = jasgd.tune.space(
        {
            "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
            "activation": ["ReLU", "Sigmoid", "Tanh"],
            "optimizer": {
                "ASGD": {"decay": unit, "power": unit, "start": unit},
                "Adam": {"average_1": unit, "average_2": unit, "stability": unit},
            },
            "layers": {k: {f"neurons_{i}": neurons for i in range(1, k + 1)} for k in (1, 2, 3)},
        }
    )
    space.add(
        ForbiddenAndConjunction(ForbiddenEqualsClause(space["optimizer"], "Adam"), ForbiddenEqualsClause(space["layers"], 3))
    )
    for i in (1, 2, 3):
        many = ForbiddenInClause(space[f"neurons_{i}"], [40, 45])
        space.add(ForbiddenAndConjunction(ForbiddenEqualsClause(space["optimizer"], "ASGD"), many))
    return space


def perceptron(point):
    """A function of ours on that space: every knob has a best value, an optimizer and a number of layers are better."""
    near = {"decay": 0.3, "power": 0.8, "start": 0.5, "average_1": 0.9, "average_2": 0.7, "stability": 0.2}
    value = (np.log10(point["learning_rate"]) + 2) ** 2 + {"ReLU": 0.0, "Sigmoid": 1.0, "Tanh": 0.5}[point["activation"]]
    value += 3 * sum((point[name] - best) ** 2 for name, best in near.items() if name in point)
    value += sum(abs(point[f"neurons_{i}"] - 30) / 10 for i in (1, 2, 3) if f"neurons_{i}" in point)
    return value + {"ASGD": 0.0, "Adam": 0.5}[point["optimizer"]] + 0.5 * abs(point["layers"] - 2)


def distance(u, v, kind):
    """Between two values of a decreed number, NaN where it is inactive, as the paper's software has it."""
    if np.isnan(u) and np.isnan(v):
        return 0.0
    if np.isnan(u) or np.isnan(v):
        return 1.0
    if kind == "alg":
        return 2 * abs(u - v) / (np.sqrt(1 + u**2) * np.sqrt(1 + v**2))
    return np.sqrt(2) * np.sqrt(1 - np.cos(np.pi * abs(u - v)))
