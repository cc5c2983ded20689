"""Delays that are given or drawn instead of speeds: the staleness itself is the model.

Used by papers without a clock, e.g. Xie, Koyejo, Gupta 2019 (FedAsync, https://arxiv.org/abs/1903.03934): uniform
delays up to a maximum; Arjevani, Shamir, Srebro 2020 (https://arxiv.org/abs/1806.10188): a constant delay.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jasgd.schedule import Schedule

DrawDelays = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def uniform_delays(maximum: int) -> DrawDelays:
    """Delays uniform on 0, 1, ..., ``maximum``.

    Example:
      >>> schedule = jasgd.protocols.delays(4, 100, jasgd.protocols.uniform_delays(16))
    """
    if maximum < 0:
        raise ValueError(f"`maximum` must not be negative, got {maximum}.")
    return lambda rng, shape: rng.integers(0, maximum + 1, shape)


def geometric_delays(mean: float) -> DrawDelays:
    """Geometric delays on 0, 1, 2, ... with the given mean.

    Example:
      >>> schedule = jasgd.protocols.delays(4, 100, jasgd.protocols.geometric_delays(5.0))
    """
    if not mean >= 0:
        raise ValueError(f"`mean` must not be negative, got {mean}.")
    return lambda rng, shape: rng.geometric(1.0 / (1.0 + mean), shape) - 1


def delays(
    num_workers: int,
    updates: int,
    delays: int | ArrayLike | DrawDelays,
    *,
    every_worker: bool = False,
    seed: int = 0,
) -> Schedule:
    """A schedule from its delays; its clock counts server steps, not seconds.

    Args:
      num_workers: workers take turns, or all compute in every step.
      updates: server steps.
      delays: a constant, an array of shape ``(updates,)`` (with ``every_worker`` ``(updates, num_workers)``), or a
        function that draws one. Before version 0 there is none: at step ``k`` a delay above ``k`` reads version 0.
      every_worker: all workers deliver in every step, each at its own stale snapshot, and the mean of their gradients
        is applied; otherwise one worker delivers per step.
      seed: of drawn delays.

    Example:
      >>> jasgd.protocols.delays(1, 5, 2).delay
      array([0, 1, 2, 2, 2], dtype=int32)
    """
    if num_workers < 1 or updates < 1:
        raise ValueError(f"`num_workers` and `updates` must be at least 1, got {num_workers} and {updates}.")
    shape = (updates, num_workers) if every_worker else (updates,)
    drawn = delays(np.random.default_rng(np.random.SeedSequence(seed)), shape) if callable(delays) else delays
    delay = np.asarray(drawn)
    if not np.issubdtype(delay.dtype, np.integer) or (delay.ndim and delay.shape != shape) or np.any(delay < 0):
        raise ValueError(f"`delays` must be whole, not negative, and one number or of shape {shape}, got {delay!r}.")
    width = num_workers if every_worker else 1
    version = np.repeat(np.arange(updates), width)
    read = np.maximum(version - np.broadcast_to(delay, shape).ravel(), 0)
    turn = np.arange(updates * width)
    return Schedule(
        worker=turn % num_workers,
        job=turn // num_workers,
        read=read,
        start=read,
        time=version + 1.0,
        weight=np.full(updates * width, 1.0 / width),
        apply=turn % width == width - 1,
        num_workers=num_workers,
        clock="steps",
        protocol="delays",
        arguments={
            "num_workers": num_workers,
            "updates": updates,
            "delays": "drawn" if callable(delays) else "given",
            "every_worker": every_worker,
            "seed": seed,
        },
        parallel=True,
    )
