"""The folder of a sweep: which runs are done and what they found, so that none is computed twice.

::

    sweep.json    what the sweep is, for people, and the widths that were chosen
    done/         what finished runs have found, a file per interval
    running/      batches that are under way, the last two files of each
    lock          held by the process that computes
"""

import contextlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jasgd.checkpoints import made_folder
from jasgd.labelled import Found


class SweepFolder:
    """One process at a time may use a folder; another one is refused with a sentence."""

    def __init__(self, folder: str | os.PathLike[str], description: Mapping[str, Any]) -> None:
        self.folder = made_folder("resume", folder)
        self._done = self.folder / "done"
        self._done.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        self.running = self.folder / "running"
        self._manifest = self.folder / "sweep.json"
        self._waiting: dict[str, Found] = {}
        for partial in [*self._done.glob("*.partial"), *self.running.glob("*.partial")]:
            partial.unlink()
        self.state = self._read_manifest(description)

    def _read_manifest(self, description: Mapping[str, Any]) -> dict[str, Any]:
        mine = {"description": dict(description), "widths": {}}
        if not self._manifest.exists():
            write_whole(self._manifest, json.dumps(mine, indent=2).encode())
            return mine
        try:
            found: dict[str, Any] = json.loads(self._manifest.read_text())
            theirs = found["description"]
        except (ValueError, KeyError, TypeError):
            warnings.warn(f"{self._manifest} is damaged and written anew.", stacklevel=2)
            write_whole(self._manifest, json.dumps(mine, indent=2).encode())
            return mine
        for name, value in description.items():
            if theirs.get(name) != value:
                self.close()
                raise ValueError(
                    f"{self.folder} holds another sweep: its `{name}` is {theirs.get(name)!r}, not {value!r}. "
                    "Choose another folder."
                )
        return found

    def remember_width(self, group: str, width: Sequence[int]) -> None:
        """Widths are kept, so that a run that is resumed is computed as it was begun."""
        self.state["widths"][group] = list(width)
        write_whole(self._manifest, json.dumps(self.state, indent=2).encode())

    def width(self, group: str) -> tuple[int, ...] | None:
        """The width that was chosen for a group, if it was."""
        found = self.state["widths"].get(group)
        return None if found is None else tuple(found)

    def done(self) -> dict[str, Found]:
        """What finished runs have found, by their fingerprints; damaged files are named and not used."""
        found: dict[str, Found] = {}
        for path in sorted(self._done.glob("*.npz")):
            try:
                found.update(_read(path))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                warnings.warn(f"{path} is damaged ({error}); its runs are computed again.", stacklevel=2)
                path.rename(path.with_suffix(".damaged"))
        return found

    def add(self, run: str, found: Found) -> None:
        """A run is done; it is written with the next :meth:`flush`."""
        self._waiting[run] = found

    def flush(self) -> None:
        """Write what has been added since, in one file that appears whole or not at all."""
        by_shape: dict[Any, list[str]] = {}
        for run, (metrics, finite) in self._waiting.items():
            by_shape.setdefault((tuple(metrics), len(finite)), []).append(run)
        for (names, _), runs in by_shape.items():
            count = 1 + max((int(path.stem) for path in self._done.iterdir() if path.stem.isdigit()), default=-1)
            columns = {f"metric:{name}": np.stack([self._waiting[run][0][name] for run in runs]) for name in names}
            finite = np.stack([self._waiting[run][1] for run in runs])
            with whole_file(self._done / f"{count:06d}.npz") as file:
                np.savez(file, run=np.array(runs), finite=finite, **columns)  # type: ignore[arg-type]
        self._waiting = {}

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.close()


def _read(path: Path) -> dict[str, Found]:
    with open(path, "rb") as content, np.load(content) as file:
        columns = {name.removeprefix("metric:"): file[name] for name in file.files if name.startswith("metric:")}
        finite = file["finite"]
        return {
            str(run): ({name: column[i] for name, column in columns.items()}, finite[i]) for i, run in enumerate(file["run"])
        }


def _locked(folder: Path) -> Any:
    file = open(folder / "lock", "a+")  # noqa: SIM115  it stays open as long as the folder is used
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the system when the process ends, however it ends
    except OSError:
        file.seek(0)
        other = file.read().strip()
        file.close()
        raise RuntimeError(
            f"another process ({other}) is computing in {folder}; wait for it or choose another folder."
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()}")
    file.flush()
    return file


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Any]:
    """A file that appears whole or not at all, whatever happens meanwhile."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """The same for bytes at hand."""
    with whole_file(path) as file:
        file.write(content)
