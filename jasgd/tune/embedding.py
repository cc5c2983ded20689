r"""Configurations of a hierarchical space as vectors whose ordinary distance is the hierarchical one.

A decreed number with scaled values :math:`u, v \in [0, 1]` has in the framework of Saves et al. 2025
(https://arxiv.org/abs/2506.22621; as in the code of SMT) the distance

.. math::
    \text{Alg: } \frac{2 |u - v|}{\sqrt{1 + u^2} \sqrt{1 + v^2}},
    \qquad \text{Arc: } \sqrt 2 \sqrt{1 - \cos(\pi |u - v|)}

where both are active, 1 where one is, 0 where none is. Ours: these are chords between points of the unit circle, Alg
between :math:`(2u, 1 - u^2) / (1 + u^2)` and Arc between :math:`(\cos \pi u, \sin \pi u)`, and an inactive value is the
circle's centre. So the distance is Euclidean, every kernel of it is positive definite, and any Gaussian process will do.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from jasgd.tune._extra import configspace

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace


def embed(
    space: "ConfigurationSpace", configurations: Sequence["Configuration"], *, distance: Literal["alg", "arc"] = "alg"
) -> np.ndarray:
    """One row per configuration; variables stand in the order of the space.

    A number that is always there is one column, a decreed one two, which are zero where it is inactive. Words are columns of
    zeros and one 1 / sqrt(2), so that different ones have distance 1; for a decreed word "inactive" is a word more.

    Args:
      space: of :func:`jasgd.tune.space`, or another one of ConfigSpace.
      configurations: of this space.
      distance: between decreed numbers.

    Example:
      >>> space = jasgd.tune.space({"method": {"plain": {}, "heavy ball": {"momentum": {"low": 0.0, "high": 1.0}}}})
      >>> jasgd.tune.embed(space, space.sample_configuration(5)).shape
      (5, 4)
    """
    if distance not in ("alg", "arc"):
        raise ValueError(f"`distance` must be 'alg' or 'arc', got {distance!r}.")
    library = configspace()
    scaled = np.stack([configuration.get_array() for configuration in configurations])
    columns = []
    for name, variable in space.items():
        u, decreed = scaled[:, space.index_of[name]], name in space.conditional_hyperparameters
        if isinstance(variable, library.CategoricalHyperparameter):
            columns.append(_words(u, variable.size, decreed))
        elif isinstance(variable, library.OrdinalHyperparameter):
            columns.append(_numbers(u / max(variable.size - 1, 1), decreed, distance))
        else:
            columns.append(_numbers(u, decreed, distance))
    return np.concatenate(columns, axis=1)


def _numbers(u: np.ndarray, decreed: bool, distance: str) -> np.ndarray:
    if not decreed:
        return u[:, None]
    if distance == "alg":
        circle = np.stack([2 * u, 1 - u**2], axis=1) / (1 + u**2)[:, None]
    else:
        circle = np.stack([np.cos(np.pi * u), np.sin(np.pi * u)], axis=1)
    return np.where(np.isnan(u)[:, None], 0.0, circle)


def _words(index: np.ndarray, size: int, decreed: bool) -> np.ndarray:
    inactive = size
    which = np.where(np.isnan(index), inactive, index).astype(int)
    return np.eye(size + decreed)[which] / np.sqrt(2)
