r"""What to try next: at random, on a grid, or where a Gaussian process expects the largest improvement.

The expected improvement over the best value so far, where mean :math:`m` and standard deviation :math:`s` are predicted, is

.. math:: \mathrm{EI} = (y_{\min} - m) \Phi(z) + s \varphi(z), \qquad z = (y_{\min} - m) / s.
"""

import copy
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jasgd.tune._extra import configspace
from jasgd.tune.embedding import embed
from jasgd.tune.space import branch, plain

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace

_SAMPLES = 400  # candidates from everywhere
_NEIGHBOURS = 50  # of the best configuration so far
_EXCHANGES = (20, (0.05, 0.2))  # of each of its knobs: how many, with which standard deviations of the scaled value


class Proposals(Protocol):
    """Decides what is tried.

    Attributes:
      free: how many of the first proposals do not depend on values.
    """

    free: int

    def next(
        self,
        known: Sequence[tuple["Configuration", float]],
        pending: Sequence["Configuration"],
        among: tuple[Any, ...] | None = None,
    ) -> "Configuration | None":
        """A configuration that is neither known nor pending, of this branch if one is given; None: there is none."""


class RandomProposals:
    """Samples of the space.

    Example:
      >>> proposals = RandomProposals(jasgd.tune.space({"x": [1, 2]}), budget=2, seed=0)
      >>> dict(proposals.next([], []))["x"] in (1, 2)
      True
    """

    def __init__(self, space: "ConfigurationSpace", budget: int, seed: int) -> None:
        self.free = budget
        self._space = seeded(space, seed)

    def next(
        self,
        known: Sequence[tuple["Configuration", float]],
        pending: Sequence["Configuration"],
        among: tuple[Any, ...] | None = None,
    ) -> "Configuration | None":
        """See :class:`Proposals`."""
        del among
        return next(fresh(samples(self._space), [*(c for c, _ in known), *pending]), None)


class GridProposals:
    """The coarsest grid with at least so many points, in random order.

    Example:
      >>> proposals = GridProposals(jasgd.tune.space({"x": {"low": 0.0, "high": 1.0}}), budget=3, seed=0)
      >>> dict(proposals.next([], []))["x"] in (0.0, 0.5, 1.0)
      True
    """

    def __init__(self, space: "ConfigurationSpace", budget: int, seed: int) -> None:
        from ConfigSpace.util import generate_grid

        numbers = [name for name, knob in space.items() if hasattr(knob, "log")]
        for steps in itertools.count(2):
            grid = list(fresh(iter(generate_grid(space, dict.fromkeys(numbers, steps))), []))
            if len(grid) >= budget or not numbers or steps > budget:
                break
        order = np.random.default_rng(seed).permutation(len(grid))
        self._left = [grid[i] for i in order]
        self.free = budget

    def next(
        self,
        known: Sequence[tuple["Configuration", float]],
        pending: Sequence["Configuration"],
        among: tuple[Any, ...] | None = None,
    ) -> "Configuration | None":
        """See :class:`Proposals`."""
        del known, pending, among
        return self._left.pop(0) if self._left else None


class GaussianProcessProposals:
    """Some samples, as many of every branch as may be; from then on the largest expected improvement among candidates.

    Values that are pending are taken to be the smallest so far, the constant lie.

    Args:
      space: that is searched.
      initial: how many samples at first; by default 12, or two per branch if that is more.
      seed: of everything that is random.
      noisy: let the process see noise in the values.

    Example:
      >>> space = jasgd.tune.space({"x": {"low": 0.0, "high": 1.0}})
      >>> proposals = GaussianProcessProposals(space, initial=2, seed=0)
      >>> known = [(proposals.next([], []), 1.0), (proposals.next([], []), 2.0)]
      >>> 0 <= dict(proposals.next(known, []))["x"] <= 1
      True
    """

    def __init__(
        self, space: "ConfigurationSpace", *, initial: int | None = None, seed: int = 0, noisy: bool = False
    ) -> None:
        self._space, self._noisy = seeded(space, seed), noisy
        self._random = np.random.RandomState(seed)
        first = _first_samples(self._space, initial)
        self.free = len(first)
        self._first = iter(first)

    def next(
        self,
        known: Sequence[tuple["Configuration", float]],
        pending: Sequence["Configuration"],
        among: tuple[Any, ...] | None = None,
    ) -> "Configuration | None":
        """See :class:`Proposals`."""
        if (first := next(self._first, None)) is not None:
            return first
        taken = [*(configuration for configuration, _ in known), *pending]
        if not known:  # more evaluators than first samples
            return next(fresh(samples(self._space), taken), None)
        best, smallest = min(known, key=lambda one: one[1])
        candidates = list(fresh(self._candidates(best), taken))
        candidates = [one for one in candidates if among is None or branch(one) == among]
        if not candidates:
            return None
        lies = [smallest] * len(pending)
        points, values = embed(self._space, taken), np.array([*(value for _, value in known), *lies])
        with _one_thread():
            mean, deviation = self._fitted(points, values).predict(embed(self._space, candidates), return_std=True)
        return candidates[int(np.argmax(expected_improvement(mean, deviation, smallest)))]

    def _candidates(self, best: "Configuration") -> Iterator["Configuration"]:
        from ConfigSpace.util import get_one_exchange_neighbourhood, get_random_neighbor

        yield from itertools.islice(samples(self._space), _SAMPLES)
        # A neighbour changes one knob, and none that governs others: a best configuration without such a knob has none.
        if any(self._space[name].size > 1 and not self._space.children_of[name] for name in best):
            for seed in self._random.randint(2**31, size=_NEIGHBOURS).tolist():
                yield get_random_neighbor(best, seed)
        count, deviations = _EXCHANGES
        for seed, deviation in zip(self._random.randint(2**31, size=len(deviations)).tolist(), deviations, strict=True):
            yield from get_one_exchange_neighbourhood(best, seed, num_neighbors=count, stdev=deviation)

    def _fitted(self, points: np.ndarray, values: np.ndarray) -> Any:
        """A Gaussian process whose kernel has one length scale per column."""
        gaussian_process, kernels = _scikit_learn()
        matern = kernels.Matern(np.ones(points.shape[1]), (1e-1, 1e2), nu=2.5)
        kernel = kernels.ConstantKernel(1.0, (1e-3, 1e3)) * matern
        if self._noisy:
            kernel = kernel + kernels.WhiteKernel(1e-2, (1e-6, 1.0))
        process = gaussian_process.GaussianProcessRegressor(
            kernel, alpha=1e-6, normalize_y=True, n_restarts_optimizer=2, random_state=self._random.randint(2**31)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length scale at its bound is no news: not every knob matters
            return process.fit(points, values)


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, smallest: float) -> np.ndarray:
    """By how much a normal value falls below the smallest so far, on average.

    Example:
      >>> expected_improvement(np.array([0.0, 5.0]), np.array([1.0, 1e-3]), 0.0).round(3)
      array([0.399, 0.   ])
    """
    from scipy.stats import norm

    s = np.maximum(deviation, 1e-12)
    z = (smallest - mean) / s
    return (smallest - mean) * norm.cdf(z) + s * norm.pdf(z)


def seeded(space: "ConfigurationSpace", seed: int) -> "ConfigurationSpace":
    """The same space with a random state of its own.

    Example:
      >>> space = jasgd.tune.space({"x": {"low": 0.0, "high": 1.0}})
      >>> seeded(space, 1).sample_configuration() == seeded(space, 1).sample_configuration()
      True
    """
    mine = copy.deepcopy(space)
    mine.seed(seed)
    return mine


def samples(space: "ConfigurationSpace") -> Iterator["Configuration"]:
    """Samples without end.

    Example:
      >>> dict(next(samples(jasgd.tune.space({"x": [7]}))))["x"].item()
      7
    """
    while True:
        yield from space.sample_configuration(100)


def fresh(configurations: Iterator["Configuration"], taken: Sequence["Configuration"]) -> Iterator["Configuration"]:
    """Those that stand for values of their own; ends after many that do not.

    Example:
      >>> len(list(fresh(samples(jasgd.tune.space({"x": [1, 2, 3]})), [])))
      3
    """
    seen = {tuple(plain(configuration).items()) for configuration in taken}
    misses = 0
    for configuration in configurations:
        values = tuple(plain(configuration).items())
        misses = misses + 1 if values in seen else 0
        if values not in seen:
            seen.add(values)
            yield configuration
        if misses > 1000:
            return


def _first_samples(space: "ConfigurationSpace", initial: int | None) -> list["Configuration"]:
    """Branches in turn, as they appear in samples, each with samples of its own."""
    of_branch: dict[Any, list[Any]] = {}
    for configuration in fresh(itertools.islice(samples(space), 2000), []):
        of_branch.setdefault(branch(configuration), []).append(configuration)
    count = max(12, 2 * len(of_branch)) if initial is None else initial
    in_turn = (one for row in itertools.zip_longest(*of_branch.values()) for one in row if one is not None)
    return list(itertools.islice(in_turn, count))


def _scikit_learn() -> tuple[Any, Any]:
    try:
        from sklearn import gaussian_process
    except ImportError:
        raise ImportError('the Gaussian process needs scikit-learn: pip install "jasgd[tune]".') from None
    return gaussian_process, gaussian_process.kernels


def _one_thread() -> Any:
    """The matrices are so small that several threads only wait for each other."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    return threadpool_limits(1, user_api="blas")


def branches(space: "ConfigurationSpace") -> list[tuple[Any, ...]]:
    """All branches that samples show.

    Example:
      >>> branches(jasgd.tune.space({"method": {"a": {}, "b": {"x": [1, 2]}}}))
      [('a',), ('b',)]
    """
    configspace()
    return sorted({branch(one) for one in itertools.islice(samples(seeded(space, 0)), 2000)}, key=str)
