"""A table of rows while it is being written."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jasgd.decentralized.execution import Execution

# (value, weight)
Terms = Iterable[tuple[int, float]]


_MOST_TERMS = 8


class Table:
    """Rows, one after the other; a node's newest replica is remembered."""

    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = num_nodes
        self.replica = list(range(num_nodes))  # the newest of every node
        self.jobs = [0] * num_nodes
        self._rows: list[tuple[int, float, int, int, float, bool, int, float]] = []
        self._mix: list[tuple[int, float]] = []
        self._push: list[tuple[int, float]] = []
        self._mix_first, self._push_first = [0], [0]
        self._waiting = [(0, 0.0)] * num_nodes

    def arrived(self, node: int, seconds: float) -> None:
        """A message has reached a node."""
        messages, total = self._waiting[node]
        self._waiting[node] = (messages + 1, total + seconds)

    def add(
        self,
        node: int,
        time: float,
        *,
        mix: Terms | None = None,
        push: Terms = (),
        read: int | None = None,
        start: float = 0.0,
        replica: bool = True,
    ) -> int:
        """Append a row; returns its vector. With ``read`` it has a gradient, :meth:`gradient`, which ``push`` may name.

        ``mix`` is by default the node's newest replica.
        """
        own = self.gradient
        mix = self._folded(node, time, [(self.replica[node], 1.0)] if mix is None else list(mix))
        row = len(self._rows)
        mix, push = ([(self.gradient if value == own else value, weight) for value, weight in each] for each in (mix, push))
        job = -1
        if read is not None:
            job = self.jobs[node]
            self.jobs[node] += 1
        self._mix.extend(mix)
        self._push.extend(push)
        self._mix_first.append(len(self._mix))
        self._push_first.append(len(self._push))
        messages, seconds = self._waiting[node]
        self._waiting[node] = (0, 0.0)
        where = -1 if read is None else read
        self._rows.append((node, time, job, where, start if job >= 0 else time, replica, messages, seconds))
        if replica:
            self.replica[node] = self.num_nodes + row
        return self.num_nodes + row

    def _folded(self, node: int, time: float, terms: list[tuple[int, float]]) -> list[tuple[int, float]]:
        """A long sum as one of partial sums, as all rows are computed with as many terms as the longest has.

        The gradient of the row to come stays as it is: only that row has it.
        """
        kept = [term for term in terms if term[0] == self.gradient]
        terms = [term for term in terms if term[0] != self.gradient]
        while len(terms) > _MOST_TERMS:
            pieces = [terms[begin : begin + _MOST_TERMS] for begin in range(0, len(terms), _MOST_TERMS)]
            terms = [(self.add(node, time, mix=piece, replica=False), 1.0) for piece in pieces]
        return terms + kept

    def gradient_of(self, vector: int) -> int:
        """The value of the gradient of the row that made a vector."""
        return -1 - (vector - self.num_nodes)

    @property
    def gradient(self) -> int:
        """The value of the gradient of the row that is added next, for its own sums; later it is :meth:`gradient_of`."""
        return -1 - len(self._rows)

    def execution(self, protocol: str, arguments: Mapping[str, Any]) -> Execution:
        """The finished table."""
        names = ("node", "time", "job", "read", "start", "replica", "messages", "wire_seconds")
        columns = dict(zip(names, map(np.array, zip(*self._rows, strict=True)), strict=True))
        mix, push = (np.array(terms, np.float64).reshape(-1, 2) for terms in (self._mix, self._push))
        return Execution(
            **columns,
            mix_first=np.array(self._mix_first),
            mix=mix[:, 0].astype(np.int64),
            mix_weight=mix[:, 1],
            push_first=np.array(self._push_first),
            push=push[:, 0].astype(np.int64),
            push_weight=push[:, 1],
            num_nodes=self.num_nodes,
            protocol=protocol,
            arguments=arguments,
        ).verify()
