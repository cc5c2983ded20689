"""Batches that are under way, in files each of which is whole or not at all, so that a sweep that is killed goes on.

Every process writes its own batch, in the background and without waiting for others, and reads what it needs; a name says
which runs a file is of, so it does not matter how many processes there were before. Orbax, which simulations use, has all
processes save together: arrays of one of several processes it either refuses or, in all but the first, leaves out.
"""

import contextlib
import dataclasses
import json
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jasgd.checkpoints import made_folder
from jasgd.fingerprint import fingerprint
from jasgd.sweep_folder import whole_file

_KEPT = 2  # files of a batch: the newest, and one before it
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True)
class Label:
    """What a file is of: fingerprints of the runs, strip after strip, and how they are laid out."""

    runs: tuple[str, ...]
    layout: tuple[int, ...]

    @property
    def name(self) -> str:
        """Files of this batch, and of no other, begin with it."""
        return fingerprint(self.runs, self.layout)[:16]


class UnderWay:
    """Files of batches in a folder, of each batch the last two; the format of zip has a checksum of every array.

    Example:
      >>> files, label = UnderWay(tmp_path, every=60.0), Label(("run",), (1,))
      >>> files.save(label, 3, {"state0": np.arange(4.0)})
      >>> files.close()
      >>> UnderWay(tmp_path, every=60.0).newest(label)
      (3, {'state0': array([0., 1., 2., 3.])})
    """

    def __init__(self, folder: Path, *, every: float) -> None:
        self.folder, self._every, self._last = made_folder("resume", folder), every, time.monotonic()
        self._labels: dict[str, Label] = {}
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self._every

    def save(self, label: Label, next_chunk: int, arrays: Mapping[str, Any]) -> None:
        """Write one; the arrays are copied at once, the rest happens in the background."""
        copied = {name: np.array(array, order="C") for name, array in arrays.items()}
        self.wait()
        self._writing = self._writer.submit(self._write, label, next_chunk, copied)
        self._last = time.monotonic()

    def _write(self, label: Label, next_chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        # Bytes: NumPy's own format does not know all dtypes of JAX.
        contents = {f"array:{name}": array.reshape(-1).view(np.uint8) for name, array in arrays.items()}
        described = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        about = json.dumps({**dataclasses.asdict(label), "next_chunk": next_chunk, "arrays": described})
        with whole_file(self.folder / f"{label.name}-{next_chunk:08d}.npz") as file:
            np.savez(file, about=np.array(about), **contents)  # type: ignore[arg-type]
        for old in self._files(label)[_KEPT:]:
            old.unlink(missing_ok=True)

    def _files(self, label: Label) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob(f"{label.name}-*.npz"), reverse=True)

    def newest(self, label: Label) -> tuple[int, dict[str, np.ndarray]] | None:
        """The next chunk and the arrays of the newest sound file of a batch; a warning for every one that is damaged."""
        for path in self._files(label):
            with _set_aside_if_damaged(path), _opened(path) as (file, about):
                if (*about["runs"],) != label.runs or (*about["layout"],) != label.layout:
                    raise ValueError("it is of another batch")
                arrays = {
                    name: file[f"array:{name}"].view(np.dtype(dtype)).reshape(shape)
                    for name, (shape, dtype) in about["arrays"].items()
                }
                return about["next_chunk"], arrays
        return None

    def labels(self) -> list[Label]:
        """Of all batches of which there are files."""
        found = {}
        for path in sorted(self.folder.glob("*.npz")):
            name = path.name.partition("-")[0]
            if name not in self._labels:
                with _set_aside_if_damaged(path), _opened(path) as (_, about):
                    self._labels[name] = Label((*about["runs"],), (*about["layout"],))
            if name in self._labels:
                found[name] = self._labels[name]
        return list(found.values())

    def remove(self, label: Label) -> None:
        """All files of a batch: once it is done they are of no use any more."""
        for path in self.folder.glob(f"{label.name}-*"):
            path.unlink(missing_ok=True)

    def wait(self) -> None:
        """Until all is written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """The same, for good."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    with open(path, "rb") as content, np.load(content) as file:
        yield file, json.loads(str(file["about"]))


@contextlib.contextmanager
def _set_aside_if_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:  # another process has just written a newer one
        pass
    except _DAMAGED as error:
        warnings.warn(f"the checkpoint {path} is damaged ({error}) and not used.", stacklevel=2)
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_suffix(".damaged"))
