"""What an oracle is."""

import dataclasses
from collections.abc import Callable

from numpy.typing import ArrayLike

from jasgd.problems.problem import Problem


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """What a worker computes: it turns a problem into one whose samples and gradients are the oracle's.

    Attributes:
      transform: ``transform(problem) -> problem``; it changes ``sample`` and ``gradient``, never what is measured.
      name: for results.
      forward_passes: what a job costs, in evaluations of the loss, a number or one for each worker; a gradient counts as 3.
        Schedules do not look at it. To compare oracles in seconds, scale the job times of a fleet by
        ``oracle.forward_passes / 3``.

    Example:
      >>> half = jasgd.oracles.Oracle(
      ...     transform=lambda problem: dataclasses.replace(
      ...         problem, gradient=lambda params, batch: problem.gradient(params, batch) / 2
      ...     ),
      ...     name="half",
      ... )
      >>> half.of(jasgd.problems.quadratic(10)).name
      "half of quadratic(dim=10, noise=0.0, noise_kind='iid')"
      >>> oracle = jasgd.oracles.zeroth_order(0.5)
      >>> jasgd.fleet.fixed(np.array([1.0, 3.0]) * oracle.forward_passes / 3).times  # two evaluations instead of three
      array([0.66666667, 2.        ])
    """

    transform: Callable[[Problem], Problem]
    name: str = "oracle"
    forward_passes: ArrayLike = 3

    def of(self, problem: Problem) -> Problem:
        """The problem as a worker with this oracle sees it."""
        return dataclasses.replace(self.transform(problem), name=f"{self.name} of {problem.name}")
