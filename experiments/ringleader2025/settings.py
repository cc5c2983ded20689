"""The clients of the paper's experiment: times, and as many examples for each, of few classes."""

import numpy as np

import jasgd
from experiments.data import dataset


def fleet(workers: int, *, seed: int = 0) -> jasgd.fleet.Fleet:
    """A permutation of 1 to n seconds, and for every job |N(0, index + 1)| more; it goes by index, not by speed."""
    times = 1.0 + np.random.default_rng(seed).permutation(workers)
    return jasgd.fleet.jittered(times, np.sqrt(np.arange(workers) + 1))


def clients(labels: np.ndarray, workers: int, alpha: float, *, seed: int = 0) -> list[np.ndarray]:
    """Equally many examples for each; the classes in proportions of Dirichlet(alpha), topped up from the fullest classes."""
    rng, size = np.random.default_rng(seed), len(labels) // workers
    pools = [rng.permutation(np.flatnonzero(labels == label)).tolist() for label in np.unique(labels)]
    shards = []
    for _ in range(workers):
        wanted = np.rint(rng.dirichlet(np.full(len(pools), alpha)) * size).astype(int)
        while wanted.sum() > size:
            wanted[wanted.argmax()] -= 1
        taken = [pool.pop() for pool, count in zip(pools, wanted, strict=True) for _ in range(min(count, len(pool)))]
        while len(taken) < size:
            taken.append(max(pools, key=len).pop())
        shards.append(np.array(taken))
    return shards


def problem(
    data: str, data_dir: str, *, workers: int, alpha: float, hidden: int, batch: int, penalty: float
) -> jasgd.Problem:
    """A perceptron with one hidden layer on these clients."""
    examples = dataset(data, data_dir)
    shards = clients(examples.labels, workers, alpha)
    return jasgd.problems.mlp(shards, hidden=(hidden,), data=examples, batch=batch, l2=penalty)
