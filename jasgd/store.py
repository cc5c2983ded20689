"""What a sweep keeps on disk while it runs, run by run, under fingerprints."""

import contextlib
import os
import tempfile
import time
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jasgd import hosts
from jasgd.batches import Batch, Group, Run, Width
from jasgd.fingerprint import fingerprint
from jasgd.labelled import Found
from jasgd.sweep_folder import SweepFolder
from jasgd.under_way import Label, UnderWay


class Store:
    """Finished runs, widths, and which batches are under way: what the first process keeps for all."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        runs: Sequence[Run],
        description: Mapping[str, Any],
        key: jax.Array,
        *,
        every: float,
    ) -> None:
        self.names = _fingerprints(runs, key)
        self._runs = dict(zip(self.names, runs, strict=True))
        self._folder = SweepFolder(folder, description)
        self._every, self._last = every, time.monotonic()
        self._done: set[str] = set()
        try:
            self.under_way = UnderWay(self._folder.running, every=every)
        except BaseException:
            self._folder.close()
            raise

    def done(self) -> dict[int, Found]:
        """What finished runs of this sweep have found, by their index."""
        found = self._folder.done()
        self._done.update(found)
        return {index: found[name] for index, name in enumerate(self.names) if name in found}

    def begun(self, group: Group, width: Width, devices: int, done: Container[int]) -> list[list[list[int]]]:
        """Batches of a group that were under way, can go on here and are not done: the indices of their runs, in strips."""
        batches, taken = list[list[list[int]]](), set[int]()
        for label in self.under_way.labels():
            runs = [self._runs[name] for name in label.runs if name in self._runs]
            known = len(runs) == len(label.runs) and all(run in group.runs for run in runs)
            indices = [run.index for run in runs]
            if not known or label.layout != _layout(group, width, devices) or all(index in done for index in indices):
                continue
            if not taken.intersection(indices):
                taken.update(indices)
                batches.append([indices[begin : begin + width.of_seed] for begin in range(0, len(indices), width.of_seed)])
        return batches

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self._every

    def add(self, index: int, found: Found) -> None:
        """A run is done."""
        self._folder.add(self.names[index], found)
        self._done.add(self.names[index])
        if self.due():
            self.flush()

    def flush(self) -> None:
        """Write what is finished; what was under way and is done is of no use any more."""
        self._folder.flush()
        self._last = time.monotonic()
        for label in self.under_way.labels():
            if self._done.issuperset(label.runs):
                self.under_way.remove(label)

    def width(self, group: Group) -> Width | None:
        """As chosen when the group was begun."""
        known = self._folder.width(self.names[group.runs[0].index])
        return None if known is None else Width(seeds=known[0], of_seed=known[1])

    def remember(self, group: Group, width: Width) -> None:
        """For :meth:`width`."""
        self._folder.remember_width(self.names[group.runs[0].index], (width.seeds, width.of_seed))

    @contextlib.contextmanager
    def marked(self) -> Iterator[str]:
        """A file with a name of its own, by which others know the folder."""
        with tempfile.NamedTemporaryFile(dir=self._folder.running, suffix=".partial") as mark:
            yield Path(mark.name).name

    def close(self) -> None:
        """Write what is finished, and let others use the folder."""
        try:
            self.flush()
        finally:
            self._folder.close()


class Kept:
    """Checkpoints of the batch that this process computes, in the folder of the first one."""

    def __init__(self, under_way: UnderWay, names: Sequence[str]) -> None:
        self._under_way, self._names = under_way, names
        self.due, self.wait, self.close = under_way.due, under_way.wait, under_way.close

    def newest(self, batch: Batch, width: Width) -> tuple[int, dict[str, np.ndarray]] | None:
        """The next chunk and the arrays with which a batch goes on."""
        return self._under_way.newest(self._label(batch, width))

    def save(self, batch: Batch, width: Width) -> None:
        """Write a checkpoint, in the background."""
        self._under_way.save(self._label(batch, width), batch.next_chunk, batch.arrays())

    def _label(self, batch: Batch, width: Width) -> Label:
        return Label(tuple(self._names[run.index] for run in batch.runs), _layout(batch.group, width, batch.mesh.size))


def kept_by_all(store: Store | None, folder: str | os.PathLike[str], every: float) -> Kept | None:
    """In every process; None, with a warning, where the folder of the first one is not to be seen."""
    here = Path(folder).resolve() / "running"
    with contextlib.nullcontext("") if store is None else store.marked() as mark:
        mark, names = hosts.from_first((mark, [] if store is None else store.names))
        seen = hosts.everywhere((here / mark).exists())
    if seen[jax.process_index()]:
        return Kept(UnderWay(here, every=every), names)
    warnings.warn(
        f"process {jax.process_index()} does not see the folder {folder} of process 0, so a batch that it computes is kept "
        "only when it is done: after a kill it begins again.",
        stacklevel=2,
    )
    return None


def _layout(group: Group, width: Width, devices: int) -> tuple[int, ...]:
    """Under which a batch can go on."""
    return group.lanes, group.chunk_steps, width.seeds, width.of_seed, devices


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
