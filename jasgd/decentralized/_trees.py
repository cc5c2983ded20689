"""Rounds on a graph without a server that all start at the same node, the pivot, and are all alike.

Time is counted in ticks, whole numbers: seconds are taken as the decimal numbers that they print as, so that ten times 0.1
is 1, and what happens at the same time does not depend on rounding.
"""

import dataclasses
import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import inf, lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.decentralized.topology import latencies, links
from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.schedule import Schedule
from jasgd.traffic import Contents, Traffic

if TYPE_CHECKING:
    import networkx

_Edges = list[list[tuple[int, int]]]  # of every node the neighbours, and the ticks to them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trees:
    """The fastest paths from a pivot and back; of several, the one of fewest edges, and then of the smallest next node.

    Attributes:
      pivot: where rounds begin and end.
      second: ticks per second.
      compute: ticks per gradient of every worker; None: it never answers.
      away, back: ticks from the pivot to every worker, and from there to the pivot.
      parent: whom every worker sends to; the pivot itself.
      link: ticks of that edge; 0 for the pivot.
      feed: ticks of the edge by which every worker gets the point; 0 for the pivot.
    """

    pivot: int
    second: int
    compute: list[int | None]
    away: list[int]
    back: list[int]
    parent: list[int]
    link: list[int]
    feed: list[int]


def trees(fleet: Fleet, graph: "networkx.Graph", pivot: int | None) -> Trees:
    """Trees of a fleet of fixed times; the pivot is by default the first with the least seconds there and back."""
    if fleet.times is None or fleet.powers:
        raise ValueError("rounds on a graph need a fleet of fixed times: with others, they would not all be alike.")
    if fleet.computing is not None:
        raise ValueError("messages take their time on the edges of the graph: give a fleet without links.")
    senders, receivers, seconds = links(graph)
    n = fleet.num_workers
    if graph.number_of_nodes() != n:
        raise ValueError(f"the graph must have a node for each of the {n} workers, got {graph.number_of_nodes()}.")
    if pivot is None:
        pivot = _centre(graph)
    if isinstance(pivot, bool) or not isinstance(pivot, int | np.integer) or not 0 <= pivot < n:
        raise ValueError(f"`pivot` must be one of the workers 0 to {n - 1}, got {pivot!r}.")
    compute, edges = [_decimal(h) for h in fleet.times.tolist()], [_decimal(rho) for rho in seconds.tolist()]
    second = lcm(*(time.denominator for time in compute + edges if time is not None))
    out: _Edges = [[] for _ in range(n)]
    into: _Edges = [[] for _ in range(n)]
    for i, j, rho in zip(senders.tolist(), receivers.tolist(), edges, strict=True):
        if rho is not None:
            out[i].append((j, int(rho * second)))
            into[j].append((i, int(rho * second)))
    away, _, feed = _tree(out, int(pivot))
    back, parent, link = _tree(into, int(pivot))
    return Trees(
        pivot=int(pivot),
        second=second,
        compute=[None if h is None else int(h * second) for h in compute],
        away=away,
        back=back,
        parent=parent,
        link=link,
        feed=feed,
    )


def repeated(
    name: str,
    fleet: Fleet,
    trees: Trees,
    updates: int,
    *,
    length: int,
    begin: Sequence[int],
    gradients: np.ndarray,
    sends: np.ndarray,
    share: np.ndarray,
    arguments: Mapping[str, Any],
) -> Schedule:
    """The schedule of rounds that are all alike, one row per worker whose gradients are used.

    Args:
      name, fleet, trees, updates, arguments: of the protocol.
      length: of a round, in ticks.
      begin: (n,) ticks from the beginning of a round until each worker computes.
      gradients: (n,) of every worker, used in a round.
      sends: (n,) vectors that every worker has sent in a round, whoever computed what is in them.
      share: (n,) weight of the mean of its gradients.
    """
    n, others = fleet.num_workers, np.arange(fleet.num_workers) != trees.pivot
    ends = np.array([k * length / trees.second for k in range(updates + 1)])
    begins = np.array([min(ticks, length) / trees.second for ticks in begin])
    started = np.array([ticks < length for ticks in begin])
    active = np.flatnonzero(gradients)
    rows, silent = (updates, len(active)), gradients == 0
    reached = others & np.array([ticks < length for ticks in trees.away])
    busy = zip(sends.tolist(), trees.link, reached.tolist(), trees.feed, strict=True)
    wire = np.array([(sent * link + received * feed) / trees.second for sent, link, received, feed in busy])
    messages = np.where(others & ~silent, 1, 0)
    in_vain = silent & started
    nothing = np.zeros(n, np.int64)
    return Schedule(
        worker=np.tile(active, updates),
        job=np.repeat(np.arange(updates), len(active)),
        read=np.repeat(np.arange(updates), len(active)),
        start=np.minimum(ends[:-1, None] + begins[active], ends[1:, None]).ravel(),
        time=np.repeat(ends[1:], len(active)),
        weight=np.tile(share[active], updates),
        apply=np.broadcast_to(np.arange(len(active)) == len(active) - 1, rows).ravel(),
        num_workers=n,
        wire_seconds=wire,
        contents=Contents(gradients=gradients, messages=messages, models=np.where(silent, 0, reached)),
        protocol=name,
        arguments={"updates": updates, **arguments, "pivot": trees.pivot, "fleet": fleet.name},
        ledger=Ledger(
            dropped=nothing,
            dropped_seconds=np.zeros(n),
            cancelled=updates * in_vain,
            cancelled_seconds=updates * np.where(in_vain, ends[1] - begins, 0.0),
            idle_seconds=updates * np.minimum(begins, ends[1]),
            lost_delay=updates * int(in_vain.sum()),
            pending_worker=nothing[:0],
            pending_read=nothing[:0],
            pending_start=np.zeros(0),
            lost=Traffic(
                messages=np.full(updates, sends.sum() - messages.sum()),
                models=np.full(updates, np.sum(silent & reached)),
                seconds=np.full(updates, wire[silent].sum()),
            ),
        ),
    )


def _decimal(seconds: float) -> Fraction | None:
    return None if seconds == inf else Fraction(repr(seconds))


def _centre(graph: "networkx.Graph") -> int:
    seconds = latencies(graph)
    far = seconds.max(axis=0) + seconds.max(axis=1)
    return int(np.argmax(far <= far.min() * (1 + 1e-12)))  # rounding must not choose


def _tree(edges: _Edges, root: int) -> tuple[list[int], list[int], list[int]]:
    """Ticks from the root to every node, the node before it, and the ticks of the edge between them."""
    nearest: dict[int, tuple[int, int, int]] = {}
    heap = [(0, 0, root, 0, root)]
    while heap:
        ticks, count, before, last, node = heapq.heappop(heap)
        if node not in nearest:
            nearest[node] = (ticks, before, last)
            for neighbour, link in edges[node]:
                heapq.heappush(heap, (ticks + link, count + 1, node, link, neighbour))
    missing = sorted(set(range(len(edges))) - set(nearest))
    if missing:
        raise ValueError(f"worker {missing[0]} and the pivot {root} cannot reach each other: the graph must be connected.")
    distances, parents, last_edges = zip(*(nearest[node] for node in range(len(edges))), strict=True)
    return list(distances), list(parents), list(last_edges)
