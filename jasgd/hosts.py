"""Several processes, each with devices of its own: who computes which batch, and how all get to know what was found.

With one process, which is the rule, nothing here does anything. JAX's own runtime connects the others
(``jax.distributed.initialize``). All take part in every round, so all must make the same calls in the same order.
"""

import contextlib
import os
import pickle
from collections.abc import Iterator, Sequence
from typing import TypeVar

import jax
import numpy as np

from jasgd.batches import Batch
from jasgd.labelled import Found

T = TypeVar("T")


def use_all_cores(devices: int | None = None) -> None:
    """Make a device of every core that this process may use, or so many; only matters on a CPU, and before JAX starts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX runs already, with the devices that it has
        jax.config.update("jax_num_cpu_devices", devices or cores)


def mine(batches: Sequence[T]) -> Iterator[tuple[T, bool]]:
    """This process's batch of every round, and True; where there is none left, the last one again, and False."""
    count, index = jax.process_count(), jax.process_index()
    for begin in range(0, len(batches), count):
        yield batches[min(begin + index, len(batches) - 1)], begin + index < len(batches)


def gathered(batch: Batch) -> list[tuple[int, Found]]:
    """What the batches of all processes have found in this round, run by run."""
    values = batch.values()
    indices = np.array([run.index for run in batch.runs])
    found = {"index": indices, "finite": values.finite, **{f"metric:{name}": c for name, c in values.metrics.items()}}
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        everywhere = multihost_utils.process_allgather(found)
        found = {name: np.asarray(column).reshape(-1, *column.shape[2:]) for name, column in everywhere.items()}
    metrics = {name.removeprefix("metric:"): c for name, c in found.items() if name.startswith("metric:")}
    return [
        (int(index), ({name: column[i] for name, column in metrics.items()}, found["finite"][i]))
        for i, index in enumerate(found["index"])
    ]


def everywhere(value: bool) -> list[bool]:
    """What each process has."""
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.array(value))).tolist()


def from_first(value: T) -> T:
    """What the first process has, for all."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    content = np.frombuffer(pickle.dumps(value), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int64(len(content))))
    mine = content if jax.process_index() == 0 else np.zeros(length, np.uint8)
    received: T = pickle.loads(np.asarray(multihost_utils.broadcast_one_to_all(mine)).tobytes())
    return received
