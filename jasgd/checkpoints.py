"""Checkpoints of a computation under way. Orbax writes them in the background, each whole or not at all."""

import os
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def made_folder(name: str, folder: Any) -> Path:
    """A folder that can be written; made, with all above it, if it is not there."""
    try:
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "that is no path"
        raise OSError(f"`{name}` must be a folder that can be written, got {folder} ({reason}); choose another.") from None


def require_interval(every: Any) -> None:
    """Seconds between checkpoints."""
    if not every >= 0:
        raise ValueError(f"`save_every` must be a number of seconds, not negative, got {every!r}.")


class Checkpoints:
    """The checkpoints in a folder, the last two of them; each knows what it is a checkpoint of."""

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str, *, every: float) -> None:
        require_interval(every)
        try:
            import orbax.checkpoint as orbax
        except ImportError:
            raise ImportError('checkpoints need orbax: pip install "jasgd[experiments]".') from None
        self.folder, self.fingerprint, self.every = made_folder("resume", folder), fingerprint, every
        self._orbax = orbax
        options = orbax.CheckpointManagerOptions(max_to_keep=2, create=True, enable_async_checkpointing=True)
        self._manager = orbax.CheckpointManager(self.folder, options=options)
        self._last = time.monotonic()

    def newest(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Settings and arrays of the newest sound checkpoint; a warning for every one that is refused.

        Raises a ``ValueError`` if the folder holds only checkpoints of something else.
        """
        foreign = None
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(step)
            except _ForeignError as error:
                foreign = str(error)
                warnings.warn(f"{error} An older one is looked for.", stacklevel=2)
            except Exception as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                warnings.warn(
                    f"the checkpoint {self.folder / str(step)} is damaged ({reason:.200}) and not used.", stacklevel=2
                )
        if foreign is not None:
            raise ValueError(f"{foreign} Choose another folder, or remove it.")
        return None

    def _read(self, step: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        args, where = self._orbax.args, self.folder / str(step)
        settings = self._manager.restore(step, args=args.Composite(settings=args.JsonRestore()))["settings"]
        if settings["fingerprint"] != self.fingerprint:
            raise _ForeignError(f"the checkpoint {where} is of another computation.")
        arrays = {}
        if settings["arrays"]:
            empty = {name: np.zeros(shape, np.dtype(dtype)) for name, (shape, dtype, _) in settings["arrays"].items()}
            arrays = self._manager.restore(step, args=args.Composite(arrays=args.StandardRestore(empty)))["arrays"]
        for name, (_, _, checksum) in settings["arrays"].items():
            arrays[name] = np.asarray(arrays[name])
            if zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes()) != checksum:
                raise ValueError(f"the checksum of {name} is wrong")
        return settings["own"], arrays

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self.every

    def save(self, settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Write one; the arrays are copied at once, the rest happens in the background."""
        copied = {name: np.array(array) for name, array in arrays.items() if np.size(array)}
        described = {
            name: (array.shape, array.dtype.name, zlib.crc32(np.ascontiguousarray(array).tobytes()))
            for name, array in copied.items()
        }
        args = self._orbax.args
        parts = {"settings": args.JsonSave({"fingerprint": self.fingerprint, "arrays": described, "own": dict(settings)})}
        if copied:
            parts["arrays"] = args.StandardSave(copied)
        self._manager.save(max(self._manager.all_steps(), default=-1) + 1, args=args.Composite(**parts))
        self._last = time.monotonic()

    def remove(self) -> None:
        """All of them: once the computation is done they are of no use any more."""
        self._manager.wait_until_finished()
        for step in self._manager.all_steps():
            self._manager.delete(step)

    def close(self) -> None:
        """Wait until all is written."""
        self._manager.wait_until_finished()
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ForeignError(ValueError):
    """A checkpoint of something else."""


def flat(prefix: str, tree: Any) -> dict[str, Any]:
    """The arrays of a tree under names; random keys as numbers."""
    return dict(_named(prefix, tree))


def _named(prefix: str, tree: Any) -> Iterator[tuple[str, Any]]:
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        yield f"{prefix}{i}", jax.random.key_data(leaf) if _is_key(leaf) else leaf


def unflat(prefix: str, like: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The tree again, on the devices where the leaves of ``like`` are."""
    leaves, structure = jax.tree.flatten(like)
    restored = []
    for i, leaf in enumerate(leaves):
        shape, dtype = (jax.random.key_data(leaf) if _is_key(leaf) else leaf).shape, leaf.dtype
        array = arrays.get(f"{prefix}{i}", np.zeros(shape, None if _is_key(leaf) else dtype))
        if array.shape != shape:
            raise ValueError(f"the checkpoint has an array of shape {array.shape} where {shape} is needed.")
        if _is_key(leaf):
            restored.append(
                jax.device_put(jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf)), leaf.sharding)
            )
        else:
            restored.append(jax.device_put(array, leaf.sharding))
    return jax.tree.unflatten(structure, restored)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
