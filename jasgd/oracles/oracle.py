"""What an oracle is."""

import dataclasses
from collections.abc import Callable

from jasgd.problems.problem import Problem


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """What a worker computes: it turns a problem into one whose samples and gradients are the oracle's.

    Attributes:
      transform: ``transform(problem) -> problem``; it changes ``sample`` and ``gradient``, never what is measured.
      name: for results.

    Example:
      >>> half = jasgd.oracles.Oracle(
      ...     transform=lambda problem: dataclasses.replace(
      ...         problem, gradient=lambda params, batch: problem.gradient(params, batch) / 2
      ...     ),
      ...     name="half",
      ... )
      >>> half.of(jasgd.problems.quadratic(10)).name
      "half of quadratic(dim=10, noise=0.0, noise_kind='iid')"
    """

    transform: Callable[[Problem], Problem]
    name: str = "oracle"

    def of(self, problem: Problem) -> Problem:
        """The problem as a worker with this oracle sees it."""
        return dataclasses.replace(self.transform(problem), name=f"{self.name} of {problem.name}")
