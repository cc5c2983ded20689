r"""The record of an execution without a server: a table of rows, each of which makes one new vector.

A vector is a node's replica, or something that a method keeps beside it. Row k belongs to a node and computes

.. math:: V_k = \sum_m a_m U_m + r\Big(\sum_m b_m W_m\Big),

where r is the node's own copy of the update rule (with the state of its last row) and the U and W are vectors or gradients.
A row without a W does not touch the rule. A *value* is the number of a vector or a gradient: ``i`` for the replica with
which node i starts, ``N + k`` for the vector of row k, and ``-1 - k`` for the gradient of row k, if it has one. As nothing
is ever overwritten, a message is just a later use of a value.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

_COLUMNS = {
    "node": np.int32,
    "time": np.float64,
    "job": np.int32,
    "read": np.int32,
    "start": np.float64,
    "replica": np.bool_,
    "mix_first": np.int32,
    "mix": np.int32,
    "mix_weight": np.float64,
    "push_first": np.int32,
    "push": np.int32,
    "push_weight": np.float64,
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Execution:
    """Who computes what from which replica, and who uses which message when.

    Attributes:
      node: (K,) int32, whose row it is.
      time: (K,) float64, seconds; not decreasing.
      job: (K,) int32, which of the node's gradients the row has, or -1.
      read: (K,) int32, the vector at which that gradient is computed; -1 without one.
      start: (K,) float64, when its computation began; the row's time without one.
      replica: (K,) bool, whether the vector is the node's new replica.
      mix_first, mix, mix_weight: row k sums ``mix_weight[e]`` times the value ``mix[e]`` over
        ``mix_first[k] <= e < mix_first[k + 1]``; arrays (K + 1,) int32, (E,) int32, (E,) float64.
      push_first, push, push_weight: likewise what the rule is given.
      num_nodes: N.
      messages: (K,) int64, messages that arrived at the node between its last row and this one.
      wire_seconds: (K,) float64, seconds that these were under way, added up.
      protocol, arguments: where it comes from.
    """

    node: np.ndarray
    time: np.ndarray
    job: np.ndarray
    read: np.ndarray
    start: np.ndarray
    replica: np.ndarray
    mix_first: np.ndarray
    mix: np.ndarray
    mix_weight: np.ndarray
    push_first: np.ndarray
    push: np.ndarray
    push_weight: np.ndarray
    num_nodes: int
    messages: np.ndarray
    wire_seconds: np.ndarray
    protocol: str = "custom"
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            column = np.asarray(getattr(self, name))
            typed: np.ndarray = column.astype(dtype, copy=False)
            if not np.array_equal(typed, column):
                raise ValueError(f"column `{name}` must hold values of type {np.dtype(dtype)}; some would be changed by it.")
            object.__setattr__(self, name, typed)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.node)

    @functools.cached_property
    def gradients(self) -> np.ndarray:
        """(K + 1,) int64, gradients computed before each row."""
        return np.concatenate([[0], np.cumsum(self.job >= 0)])

    @functools.cached_property
    def asks(self) -> np.ndarray:
        """(K,) bool, whether the row asks the rule."""
        return np.diff(self.push_first) > 0

    @functools.cached_property
    def current(self) -> np.ndarray:
        """(K,) int32, the replica that the row's node had before the row."""
        before = np.empty(len(self), np.int32)
        newest = np.arange(self.num_nodes)
        for k, (node, replica) in enumerate(zip(self.node.tolist(), self.replica.tolist(), strict=True)):
            before[k] = newest[node]
            if replica:
                newest[node] = self.num_nodes + k
        return before

    def replicas_after(self, rows: int) -> np.ndarray:
        """(N,) int32, the vectors that are the nodes' replicas after so many rows.

        Example:
          >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.fixed([1.0, 5.0]), 4)
          >>> execution.replicas_after(0)
          array([0, 1], dtype=int32)
        """
        newest = np.arange(self.num_nodes, dtype=np.int32)
        made = np.flatnonzero(self.replica[:rows])
        newest[self.node[made]] = self.num_nodes + made  # the last assignment to an index stays
        return newest

    def verify(self) -> "Execution":
        """Check every law that a table must obey; a ``ValueError`` names the law and the row that breaks it.

        Example:
          >>> fleet = jasgd.fleet.equal(3)
          >>> execution = jasgd.decentralized.dasgd(fleet, 10, latencies=0.1).verify()
        """
        n, count, row = self.num_nodes, len(self), np.arange(len(self))
        lengths = dict.fromkeys(("node", "time", "job", "read", "start", "replica", "messages", "wire_seconds"), count)
        lengths |= {"mix_weight": len(self.mix), "push_weight": len(self.push)}
        for name, length in lengths.items():
            if np.shape(getattr(self, name)) != (length,):
                raise ValueError(f"`{name}` must have the shape ({length},), got {np.shape(getattr(self, name))}.")
        computes = self.job >= 0
        laws = [
            (f"`node` must lie in [0, {n})", (self.node >= 0) & (self.node < n)),
            ("`time` must not go backwards", np.diff(self.time, prepend=0.0) >= 0),
            ("`time` and `start` must be finite, with 0 <= start <= time", self._times_are_sane()),
            ("`read` must be an earlier vector", ~computes | ((self.read >= 0) & (self.read < n + row))),
        ]
        for name in ("mix", "push"):
            first, value = getattr(self, f"{name}_first"), getattr(self, name)
            if len(first) != count + 1 or first[0] != 0 or first[-1] != len(value) or np.any(np.diff(first) < 0):
                raise ValueError(
                    f"`{name}_first` must rise from 0 to the {len(value)} entries of `{name}`, one step per row."
                )
            user = np.repeat(row, np.diff(first))
            gradient = np.where(value < 0, -1 - value, 0)
            exists = np.where(value < 0, (gradient <= user) & computes[np.minimum(gradient, count - 1)], value < n + user)
            bad = user[~exists]
            laws.append((f"`{name}` must name earlier vectors, and gradients up to the row's own", ~np.isin(row, bad)))
        for law, holds in laws:
            if not np.all(holds):
                raise ValueError(f"{law}; broken in row {int(np.argmin(holds))}.")
        order = np.lexsort((self.job[computes], self.node[computes]))
        pairs = np.stack([self.node[computes][order], self.job[computes][order]], axis=1)
        if len(pairs) > 1 and np.any(np.all(np.diff(pairs, axis=0) == 0, axis=1)):
            raise ValueError("a (node, job) pair must occur once.")
        return self

    def _times_are_sane(self) -> np.ndarray:
        return np.isfinite(self.time) & (self.start >= 0) & (self.start <= self.time)
