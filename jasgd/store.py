"""What a sweep keeps on disk while it runs, run by run, under fingerprints."""

import dataclasses
import os
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jasgd.batches import Batch, Group, Run, Width
from jasgd.checkpoints import Checkpoints
from jasgd.fingerprint import fingerprint
from jasgd.labelled import Found
from jasgd.sweep_folder import SweepFolder


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Running:
    """A batch that was under way."""

    strips: list[list[Run]]
    next_chunk: int
    arrays: dict[str, np.ndarray]


class Store:
    """Finished runs and, unless several processes share the work, checkpoints of the others."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        runs: Sequence[Run],
        description: Mapping[str, Any],
        key: jax.Array,
        *,
        every: float,
    ) -> None:
        self._names = _fingerprints(runs, key)
        self._runs = dict(zip(self._names, runs, strict=True))
        self._folder = SweepFolder(folder, description)
        self._every, self._last = every, time.monotonic()
        self._checkpoints, self._saved = None, None
        if jax.process_count() > 1:  # orbax would wait for the others
            return
        try:
            self._checkpoints = Checkpoints(self._folder.running, "a batch of a sweep", every=every)
            self._saved = self._checkpoints.newest()
        except BaseException:
            self._folder.close()
            raise

    def done(self) -> dict[int, Found]:
        """What finished runs of this sweep have found, by their index."""
        found = self._folder.done()
        return {index: found[name] for index, name in enumerate(self._names) if name in found}

    def running(self, group: Group, width: Width, devices: int, done: Container[int]) -> Running | None:
        """The batch of a group that was under way, if it can go on here and is not done."""
        if self._saved is None:
            return None
        settings, arrays = self._saved
        names = settings["runs"]
        same = [group.lanes, group.chunk_steps, width.seeds, width.of_seed, devices]
        if settings["layout"] != same or any(name not in self._runs for name in names):
            return None
        runs = [self._runs[name] for name in names]
        if any(run not in group.runs for run in runs) or all(run.index in done for run in runs):
            return None
        self._saved = None
        strips = [runs[begin : begin + width.of_seed] for begin in range(0, len(runs), width.of_seed)]
        return Running(strips=strips, next_chunk=settings["next_chunk"], arrays=arrays)

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self._every

    def save(self, batch: Batch, width: Width) -> None:
        """Write what is finished, and a checkpoint of what is not."""
        self._folder.flush()
        self._last = time.monotonic()
        if self._checkpoints is None:
            return
        layout = [batch.group.lanes, batch.group.chunk_steps, width.seeds, width.of_seed, batch.mesh.size]
        names = [self._names[run.index] for run in batch.runs]
        self._checkpoints.save({"runs": names, "next_chunk": batch.next_chunk, "layout": layout}, batch.arrays())

    def add(self, index: int, found: Found) -> None:
        """A run is done."""
        self._folder.add(self._names[index], found)
        if self.due():
            self._folder.flush()
            self._last = time.monotonic()

    def width(self, group: Group) -> Width | None:
        """As chosen when the group was begun."""
        known = self._folder.width(self._names[group.runs[0].index])
        return None if known is None else Width(seeds=known[0], of_seed=known[1])

    def remember(self, group: Group, width: Width) -> None:
        """For :meth:`width`."""
        self._folder.remember_width(self._names[group.runs[0].index], (width.seeds, width.of_seed))

    def close(self) -> None:
        """Write what is finished, wait for what is being written, and let others use the folder."""
        try:
            self._folder.flush()
            if self._checkpoints is not None:
                self._checkpoints.close()
        finally:
            self._folder.close()


def _fingerprints(runs: Sequence[Run], key: jax.Array) -> list[str]:
    """Of every run: what is computed, from which numbers, on which schedule, from which key."""
    known: dict[Any, str] = {}

    def once(*content: Any) -> str:
        same = tuple(map(id, content))  # many runs share a program and not its numbers, or the other way round
        if same not in known:
            known[same] = fingerprint(*content)
        return known[same]

    names = []
    for run in runs:
        prepared = run.prepared
        numbers = prepared.program.numbers
        parts = (
            once(prepared.program.sample, numbers.sample),
            once(prepared.program.gradient, numbers.gradient),
            once(prepared.program.rule, numbers.rule, prepared.program.extra_args),
            repr(prepared.program.read_model),
            once(prepared.init, prepared.init_numbers["params"]),
            once(prepared.rule_init, prepared.init_numbers["rule_state"]),
            once(prepared.metrics, prepared.metric_numbers),
            once(run.schedule),
            once(run.versions),
        )
        names.append(fingerprint(*parts, key, run.seed))
    return names
