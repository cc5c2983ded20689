"""Metrics of the recorded versions, fetched one chunk behind the device; notices divergence."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd import engine, ring
from jasgd.history import History
from jasgd.plan import Plan
from jasgd.program import Program


class Recorder:
    """Fetches metrics one chunk behind the device, and notices divergence."""

    def __init__(self, metrics: Program, numbers: list[jax.Array], plan: Plan) -> None:
        self.metrics, self.numbers, self.plan = metrics, numbers, plan
        self.pending: list[tuple[int, np.ndarray, Any]] = []
        self.rows: list[dict[str, np.ndarray]] = []
        self.versions: list[int] = []
        self.broken: tuple[int, int] | None = None

    def start(self, state: engine.State) -> None:
        """Record version 0, where the loss must be a number."""
        self.record(-1, state)
        records, _ = self.pending[0][2]
        if np.isnan(records[0]["loss"][0]):
            raise no_loss()

    def record(self, chunk: int, state: engine.State) -> bool:
        """Ask for a chunk's records, take those of the one before; False once the run has diverged."""
        self.ask(chunk, state)
        if len(self.pending) > 1:
            self._take()
        return self.broken is None

    def ask(self, chunk: int, state: engine.State) -> None:
        """Ask for a chunk's records, and wait for nothing."""
        wanted = np.flatnonzero(self.plan.record_chunks == chunk)
        answer = None
        if len(wanted):
            slots = np.zeros(self.plan.records_per_chunk, np.int32)
            slots[: len(wanted)] = self.plan.record_slots[wanted]
            answer = _evaluate(self.metrics, self.numbers, state.ring, slots)
        self.pending.append((chunk, wanted, (answer, all_finite(state.params))))

    def finish(self) -> bool:
        """Take what has been asked for; False if the run has diverged."""
        while self.pending and self.broken is None:
            self._take()
        return self.broken is None

    def arrays(self) -> dict[str, np.ndarray]:
        """What has been recorded, for a checkpoint."""
        columns = {f"record:{name}": np.array([row[name] for row in self.rows]) for name in self.rows[0]}
        return {"versions": np.array(self.versions), **columns}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from there."""
        self.versions = arrays["versions"].tolist()
        columns = {name.removeprefix("record:"): column for name, column in arrays.items() if name.startswith("record:")}
        self.rows = [{name: column[i] for name, column in columns.items()} for i in range(len(self.versions))]

    def _take(self) -> None:
        chunk, wanted, answer = self.pending.pop(0)
        records, still_finite = jax.device_get(answer)
        plan = self.plan
        for i, record in enumerate(wanted):
            rows, finite = records
            before = self.versions[-1] if self.versions else 0
            self.versions.append(int(plan.record_versions[record]))
            self.rows.append({name: column[i] for name, column in rows.items()})
            if not finite[i]:
                self.broken = (before, self.versions[-1])
                return
        if not still_finite:
            end = int(plan.first[min((chunk + 1) * plan.chunk_steps, plan.steps)])
            self.broken = (self.versions[-1], int(plan.schedule.version[end - 1] + plan.schedule.apply[end - 1]))

    def result(self, versions: np.ndarray, times: np.ndarray | None) -> tuple[dict[str, np.ndarray], bool, str]:
        """The history of the wanted versions, whether the run diverged, and how it ended."""
        versions = versions[versions <= self.versions[-1]]
        version_time = self.plan.schedule.version_time
        history = History(version=versions, time=version_time[versions] if times is None else times[: len(versions)])
        row = np.searchsorted(self.versions, versions)
        history |= {name: np.array([r[name] for r in self.rows])[row] for name in self.rows[0]}
        if self.broken is None:
            return history, False, f"finished after {self.plan.schedule.updates} updates."
        low, high = self.broken
        message = (
            f"diverged: the parameters are finite at version {low} and not at version {high} "
            f"(simulated time {version_time[high]:.6g}); try a smaller step size"
            f"{', and look for NaN in the first gradients' if low == 0 else ''}."
        )
        return history, True, message


def no_loss(where: str = "") -> ValueError:
    """What is said of a loss that is NaN at the starting point."""
    return ValueError(
        f"the loss of `problem.metrics` is NaN at the starting point{where}: look for NaN in the data, and for logarithms "
        "and roots of negative numbers."
    )


def measured(
    metrics: Program, numbers: list[jax.Array], snapshots: optax.Params, slots: jax.Array
) -> tuple[Mapping[str, jax.Array], jax.Array]:
    """Metrics of the recorded versions, and whether each is finite."""

    def one(slot: jax.Array) -> tuple[Any, jax.Array]:
        version = ring.numbers(ring.read(snapshots, slot))
        return metrics(numbers, version), _finite(version)

    return jax.lax.map(one, slots)


def _finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


_evaluate = jax.jit(measured, static_argnames="metrics")
all_finite = jax.jit(_finite)
