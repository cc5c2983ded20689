r"""Amelie SGD: every worker weighs the same, however many gradients it computes; Malenia SGD over a tree.

Tyurin, Richtarik, "On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization", NeurIPS 2024,
https://arxiv.org/abs/2405.16218. Every worker has its own data.
"""

from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from jasgd.decentralized._trees import repeated, trees
from jasgd.decentralized.fragile import CITATION as CITATION
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.schedule import Schedule

if TYPE_CHECKING:
    import networkx


def amelie(fleet: Fleet, graph: "networkx.Graph", updates: int, batch: int, *, pivot: int | None = None) -> Schedule:
    r"""Rounds whose step is the mean over all workers of the mean of each one's :math:`s_i` gradients.

    The pivot broadcasts the point; who has it passes it on and computes one gradient after the other, until

    .. math:: \frac n{\sum_i 1 / s_i} \ge \frac Sn, \qquad s_i \ge 1.

    Then the workers all-reduce the means: up the tree to the pivot, and down again, which is the next round's broadcast.
    So a round takes the seconds until the condition holds, and those of the longest way back. The numbers :math:`1 / s_i`,
    by which the pivot knows, and its word that all should stop are **not charged**: they are single numbers, not vectors.
    All gradients that are ready at the moment at which the condition becomes true count.

    In the table, a job is a worker's whole part of a round; ``jasgd.oracles.gradient(schedule.contents.gradients)`` computes
    the means, as :func:`jasgd.methods.amelie` has it.

    Args:
      fleet: workers of fixed speeds, without links; all must answer.
      graph: of :mod:`jasgd.decentralized.topology`, with the seconds of a vector over each edge.
      updates: steps.
      batch: S, :func:`jasgd.theory.malenia_batch`.
      pivot: as for :func:`fragile`.

    Example:
      >>> graph = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.mesh(1, 3), 0.1)
      >>> schedule = jasgd.decentralized.amelie(jasgd.fleet.fixed([1.0, 1.0, 2.0]), graph, 1, batch=5)
      >>> schedule.contents.gradients, schedule.time
      (array([3, 3, 1]), array([3.2, 3.2, 3.2]))
    """
    require_fleet(fleet)
    require_whole(updates=updates, batch=batch)
    paths, n = trees(fleet, graph, pivot), fleet.num_workers
    compute = [ticks for ticks in paths.compute if ticks is not None]
    if len(compute) < n:
        raise ValueError(
            f"worker {paths.compute.index(None)} never answers, so no round of Amelie SGD ever ends; "
            "leave it out of the fleet."
        )

    def counts(time: int) -> list[int]:
        return [(time - away) // h for away, h in zip(paths.away, compute, strict=True)]

    def enough(time: int) -> bool:
        return batch * sum(Fraction(number, s) for s, number in Counter(counts(time)).items()) <= n**2

    early = late = max(away + h for away, h in zip(paths.away, compute, strict=True))  # when the last one has a gradient
    while not enough(late):
        early, late = late, 2 * late
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (early, middle) if enough(middle) else (middle, late)
    return repeated(
        "amelie",
        fleet,
        paths,
        updates,
        length=late + max(paths.back),
        begin=paths.away,
        gradients=np.array(counts(late), np.int64),
        sends=np.where(np.arange(n) == paths.pivot, 0, 1),
        share=np.full(n, 1 / n),
        arguments={"batch": batch, "graph": str(graph)},
    )
