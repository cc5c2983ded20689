"""What the figures share: the quadratic of 64 coordinates, and how many updates it takes to get somewhere."""

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

import jasgd

if TYPE_CHECKING:
    import xarray

DIM = 64
SPECTRUM = np.linspace(0.2, 1.0, DIM)


def quadratic(noise: float = 0.0, dim: int = DIM) -> jasgd.Problem:
    """f(x) = x' H x / 2 in a random basis, eigenvalues from 0.2 to 1, with the squared distance as a metric."""
    problem = jasgd.problems.quadratic(dim, noise, spectrum=np.linspace(0.2, 1.0, dim), basis_seed=1)

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        return {**problem.metrics(x), "distance": jnp.sum(x**2)}

    return dataclasses.replace(problem, metrics=metrics)


def hessian(dim: int = DIM) -> np.ndarray:
    """H, for step sizes."""
    basis, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(dim, dim)))
    return (basis * np.linspace(0.2, 1.0, dim)) @ basis.T


def first_below(
    values: "xarray.DataArray", goal: float, at: "xarray.DataArray", along: str = "version"
) -> "xarray.DataArray":
    """Where, of ``at``, a value is first below the goal; NaN if none is, or the last one is not finite."""
    reached = (values < goal) & np.isfinite(values.isel({along: -1}))
    return at.where(reached).min(along)
