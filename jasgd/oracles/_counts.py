"""So many per job: a number, or one for each worker."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike


def checked(name: str, count: ArrayLike) -> np.ndarray:
    """Whole numbers, none negative, not all of them 0: workers with 0 take no part."""
    counts = np.asarray(count)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or not counts.size or np.any(counts < 0) or not np.any(counts):
        raise ValueError(f"`{name}` must be a positive whole number, or one for each worker, got {count!r}.")
    if np.any(counts >= 2**31):
        raise ValueError(f"`{name}` must be below 2^31, got {counts.max()}.")
    return counts


def of(counts: np.ndarray, worker: jax.Array) -> Any:
    """The count of one worker; a Python number if all have the same."""
    return int(counts) if not counts.ndim else jnp.asarray(counts, jnp.int32)[worker]


def name(counts: np.ndarray) -> str:
    """For results: the counts, or how few and how many there are of many workers."""
    return str(counts.tolist()) if counts.size <= 8 else f"{counts.min()} to {counts.max()}"
