"""A number that says whether two computations are the same one: of programs, arrays and settings, across processes."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jasgd.program import Program
from jasgd.schedule import Schedule


def fingerprint(*parts: Any) -> str:
    """SHA-256 of strings, numbers, arrays, programs, schedules, and of lists and mappings of these.

    Example:
      >>> fingerprint("a", {"x": 1.0}) == fingerprint("a", {"x": 1.0}), fingerprint(1) == fingerprint(1.0)
      (True, False)
    """
    total = hashlib.sha256()
    for part in parts:
        _add(total, part)
    return total.hexdigest()


def _add(total: "hashlib._Hash", part: Any) -> None:
    if isinstance(part, Program):
        # Addresses of Python functions are printed in it, and differ from process to process.
        text = re.sub(r"0x[0-9a-f]+", "", str(part.closed.jaxpr))
        part = [text, str(part.out_tree), [np.frombuffer(c, np.uint8) for c in part.structure_constants()]]
    if isinstance(part, Schedule):
        columns = ("worker", "job", "read", "start", "time", "weight", "apply")
        part = [part.num_workers, part.clock, [getattr(part, name) for name in columns]]
    if isinstance(part, Mapping):
        part = [item for name in sorted(part) for item in (name, part[name])]
    if isinstance(part, list | tuple):
        total.update(f"[{len(part)}".encode())
        for item in part:
            _add(total, item)
        return
    if isinstance(part, jax.Array) and jnp.issubdtype(part.dtype, jax.dtypes.prng_key):
        part = jax.random.key_data(part)
    if isinstance(part, jax.Array | np.ndarray | np.generic):
        array = np.asarray(part)
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
        return
    if not isinstance(part, str | int | float | bool | None):
        raise TypeError(f"cannot take the fingerprint of {part!r}.")
    total.update(f"{type(part).__name__}:{part!r};".encode())
