"""How many runs one device computes together: measured on a CPU, as many as fit on anything else."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jasgd.batches import Batch, Group, Width, batches_of
from jasgd.lanes import seconds_per_delivery
from jasgd.memory import free_memory

_WORTH_MEASURING = 20.0  # seconds of estimated simulation, below which compiling several widths costs more than it saves
_TRIED = (1, 8, 64)
_measured: dict[tuple[Any, ...], Width] = {}


def choose_width(group: Group, key: jax.Array, devices: Sequence[jax.Device], most: int | None = None) -> Width:
    """Runs of one batch on one device, ``most`` if that is given.

    Raises a ``MemoryError`` with numbers and the remedy if not even one run fits.
    """
    fit = min(_fitting(group, devices), -(-len(group.runs) // len(devices)), most or len(group.runs))
    if devices[0].platform != "cpu" or most is not None:
        return Width.at_most(fit, group, len(devices))
    tried = sorted({Width.at_most(min(runs, fit), group, len(devices)) for runs in _TRIED}, key=lambda width: width.runs)
    gradients = sum(len(run.schedule) for run in group.runs)
    if gradients * seconds_per_delivery(group.program) < _WORTH_MEASURING:
        return tried[min(1, len(tried) - 1)]
    case = (group.loop, group.start, tuple(map(str, devices)), tuple(tried))
    if case not in _measured:
        _measured[case] = _fastest(group, tried, key, devices)
    return _measured[case]


def _fitting(group: Group, devices: Sequence[jax.Device]) -> int:
    """Runs per device that leave half of the free memory alone; on a CPU, devices share one memory."""
    share = len(devices) if devices[0].platform == "cpu" else 1
    free, each = free_memory(devices[0]), group.bytes_per_run()
    fit = int(free / 2 / share // each)
    if fit < 1 and each * share > free:
        raise MemoryError(
            f"one run on each of {len(devices)} devices needs about {each * share / 2**30:.2f} GiB but "
            f"{free / 2**30:.2f} GiB are free: {group.rows} snapshots per run. Use fewer devices, a smaller concurrency, or "
            "parameters of lower precision, if only in snapshots (`snapshot_dtype`)."
        )
    return max(1, fit)


def _fastest(group: Group, widths: Sequence[Width], key: jax.Array, devices: Sequence[jax.Device]) -> Width:
    """The width with most gradients per second, on a part of the first chunk; they take turns, as machines have moods."""
    batches = [Batch(group, batches_of(group, width, len(devices))[0], key, devices) for width in widths]
    best, spent = [0.0] * len(widths), 0.0
    for turn in range(20):
        for i, (batch, width) in enumerate(zip(batches, widths, strict=True)):
            began = time.perf_counter()
            done = batch.rehearse(max(8, 512 // width.runs)) * len(batch.runs)
            if turn:  # the first one compiles
                seconds = time.perf_counter() - began
                best[i], spent = max(best[i], done / seconds), spent + seconds
        if spent > 0.2 * len(widths):
            break
    return widths[int(np.argmax(best))]
