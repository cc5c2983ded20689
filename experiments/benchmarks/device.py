"""The device: which one is asked for; how fast it moves, multiplies and starts operations, measured, not looked up."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from experiments.benchmarks.launches import per_turn
from experiments.benchmarks.measure import seconds_of

Kind = Literal["cpu", "gpu", "tpu"]
_CHAIN, _SIDE = 16, 32  # products in a turn of the loop that only starts operations, and their size


def use(kind: Kind) -> None:
    """Compute on a device of this kind from now on; refused with a sentence if JAX finds none."""
    if kind == "cpu":
        jax.config.update("jax_platforms", "cpu")  # in vain if something has been computed elsewhere
    try:
        found = f"computes on the {jax.default_backend()}"
        there = jax.default_backend() == kind
    except (RuntimeError, AssertionError):  # as JAX says that what JAX_PLATFORMS asks for is not there
        found, there = "finds nothing", False
    if not there:
        raise ValueError(f"there is no {kind} here, JAX {found}: `jasgd doctor` says what there is, docs/gpu.md more.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """What the device does at best.

    Attributes:
      bytes_per_second: read and written by ``a + s * b`` on arrays that fit into no cache.
      operations_per_second: floating-point operations of a large product of float32 matrices, in the precision of gradients.
      launch_seconds: per operation, in a compiled loop of small products of a matrix and a vector, each of the one before.
    """

    bytes_per_second: float
    operations_per_second: float
    launch_seconds: float

    @classmethod
    def measured(cls, *, quick: bool = False) -> "Device":
        """Measure the default device; ``quick`` is too small to be right on anything large."""
        small = quick or jax.default_backend() == "cpu"
        numbers, side, turns = (2**24, 1024, 1000) if small else (2**28, 8192, 2000)
        if quick:
            numbers, side, turns = 2**20, 256, 100
        return cls(
            bytes_per_second=3 * 4 * numbers / _seconds(_triad, jnp.ones(numbers), jnp.ones(numbers)),
            operations_per_second=2 * side**3 / _seconds(_product, jnp.ones((side, side)), jnp.eye(side)),
            launch_seconds=_seconds(_starts, *_small(turns)) / (turns * started_per_turn()),
        )


@functools.partial(jax.jit, donate_argnums=0)
def _triad(a: jax.Array, b: jax.Array) -> jax.Array:
    return a + 1e-3 * b


@jax.jit
def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return a @ b


@jax.jit
def _starts(x: jax.Array, rest: tuple[jax.Array, jax.Array]) -> jax.Array:
    matrix, turns = rest

    def turn(_: jax.Array, x: jax.Array) -> jax.Array:
        for _ in range(_CHAIN):  # sums of all numbers before: no compiler makes one operation of two
            x = matrix @ x
        return x

    return jax.lax.fori_loop(0, turns, turn, x)


def _small(turns: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return jnp.ones(_SIDE), (jnp.eye(_SIDE), jnp.int32(turns))


def started_per_turn() -> float:
    """Operations that the loop of small products starts whenever it turns, counted like those of the engine."""
    return per_turn(_starts.lower(*_small(1)).compile().as_text())


def _seconds(function: Callable[..., jax.Array], first: jax.Array, second: Any, *, tries: int = 10) -> float:
    """The shortest time of a call whose result is the first argument of the next."""
    best = float("inf")
    for repeat in range(tries + 1):

        def call() -> None:
            nonlocal first
            first = jax.block_until_ready(function(first, second))

        spent = seconds_of(call)
        best = min(best, spent) if repeat else best  # the first call compiles
    return best
