"""Values that are kept in a file, so that a search that was interrupted goes on, and a larger one reuses a smaller one."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jasgd.sweep_folder import write_whole

Function = Callable[[Sequence[Mapping[str, Any]]], Sequence[float]]


class Kept:
    """An objective that computes no value twice, not even in another process.

    A search proposes the same again if it sees the same values, so it finds in the end what it would have found. Values are
    kept when a call is done: what the search asks for at once, such as its first points at random, is kept together.

    Args:
      objective: as for :func:`jasgd.tune.search`.
      path: of the file, a line per value, which is written whenever there is a new one.
      of: says which objective it is; values of others in the file are left alone.

    Example:
      >>> calls = []
      >>> squares = lambda points: [calls.append(p) or p["x"] ** 2 for p in points]
      >>> Kept(squares, tmp_path / "kept.jsonl", of="squares")([{"x": 2}, {"x": 3}])
      [4, 9]
      >>> Kept(squares, tmp_path / "kept.jsonl", of="squares")([{"x": 3}, {"x": 4}])
      [9, 16]
      >>> calls
      [{'x': 2}, {'x': 3}, {'x': 4}]
    """

    def __init__(self, objective: Function, path: Path, *, of: str) -> None:
        self._objective, self._path, self._of = objective, path, of
        self._values = _read(path)

    def __call__(self, configurations: Sequence[Mapping[str, Any]]) -> list[float]:
        """One value per configuration."""
        names = [json.dumps([self._of, dict(configuration)], sort_keys=True) for configuration in configurations]
        missing = [i for i, name in enumerate(names) if name not in self._values]
        if missing:
            found = self._objective([configurations[i] for i in missing])
            self._values.update((names[i], value) for i, value in zip(missing, found, strict=True))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lines = (f"[{name}, {json.dumps(value)}]\n" for name, value in self._values.items())
            write_whole(self._path, "".join(lines).encode())
        return [self._values[name] for name in names]


def _read(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    try:
        content = [json.loads(line) for line in path.read_text().splitlines()]
        return {json.dumps(name, sort_keys=True): value for name, value in content}
    except ValueError as error:
        warnings.warn(f"{path} is damaged ({error}); its values are computed again.", stacklevel=2)
        return {}
