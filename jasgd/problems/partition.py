"""How data is dealt out to workers: for each worker the indices of its examples.

The label split by a Dirichlet law is that of Hsu, Qi, Brown 2019, https://arxiv.org/abs/1909.06335.
"""

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import said


def iid(labels: ArrayLike, num_workers: int, *, seed: int = 0) -> list[np.ndarray]:
    """Equal shares (up to one example) of the shuffled data.

    Example:
      >>> [len(shard) for shard in jasgd.problems.partition.iid(np.zeros(10), 3)]
      [4, 3, 3]
    """
    count = _enough(labels, num_workers)
    return np.array_split(np.random.default_rng(seed).permutation(count), num_workers)


def by_label(labels: ArrayLike, num_workers: int) -> list[np.ndarray]:
    """Equal shares of the data sorted by label: workers see few classes each.

    Example:
      >>> [shard.tolist() for shard in jasgd.problems.partition.by_label([1, 0, 1, 0], 2)]
      [[1, 3], [0, 2]]
    """
    _enough(labels, num_workers)
    return np.array_split(np.argsort(np.asarray(labels), kind="stable"), num_workers)


def dirichlet(labels: ArrayLike, num_workers: int, alpha: float, *, seed: int = 0) -> list[np.ndarray]:
    """Each class is split over the workers in proportions drawn from Dirichlet(alpha); small alpha: few classes each.

    Proportions are drawn again until everybody has an example; if that does not happen in 1000 tries, it is refused.

    Example:
      >>> shards = jasgd.problems.partition.dirichlet(np.arange(1000) % 10, 20, alpha=0.1)
      >>> sum(map(len, shards))
      1000
    """
    if not 0 < alpha < np.inf:
        raise ValueError(f"`alpha` must be positive and finite, got {alpha}.")
    _enough(labels, num_workers)
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    for _ in range(1000):
        owner = np.empty(len(labels), np.int64)
        for label in np.unique(labels):
            mine = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(num_workers, alpha))
            owner[mine] = np.searchsorted(np.cumsum(shares)[:-1], (np.arange(len(mine)) + 0.5) / len(mine))
        shards = [np.flatnonzero(owner == worker) for worker in range(num_workers)]
        if all(map(len, shards)):
            return shards
    raise ValueError(
        f"a Dirichlet({alpha}) split of {len(labels)} examples left one of {num_workers} workers without data in 1000 "
        "tries; use a larger `alpha`, more data or fewer workers."
    )


def sizes(labels: ArrayLike, counts: ArrayLike, *, seed: int = 0) -> list[np.ndarray]:
    """Shares of given sizes of the shuffled data.

    Example:
      >>> [len(shard) for shard in jasgd.problems.partition.sizes(np.zeros(10), [7, 2])]
      [7, 2]
    """
    counts, total = np.asarray(counts), len(np.asarray(labels))
    if counts.ndim != 1 or not len(counts) or counts.dtype.kind not in "iu" or counts.min() < 1 or counts.sum() > total:
        raise ValueError(f"`counts` must be positive whole numbers and add up to at most {total} examples, got {counts!r}.")
    order = np.random.default_rng(seed).permutation(total)
    return np.split(order[: counts.sum()], np.cumsum(counts)[:-1])


def _enough(labels: ArrayLike, num_workers: int) -> int:
    if np.ndim(labels) == 0:
        raise ValueError(f"`labels` must hold the label of every example, got {said(labels)}.")
    count = len(np.asarray(labels))
    if not isinstance(num_workers, int | np.integer) or not 1 <= num_workers <= count:
        raise ValueError(f"`num_workers` must lie between 1 and the {count} examples, got {said(num_workers)}.")
    return count
