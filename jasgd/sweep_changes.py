"""What has changed in a configuration since its results were written: nothing may be replaced that is not computed again."""

import tomllib
from collections.abc import Mapping
from typing import Any


def change(old: str, new: str) -> str | None:
    """The first difference between two TOML files that is not new values of a grid, more seeds or another sweep.

    Example:
      >>> change("every = 10", "every = 20")
      '`every` is 10, not 20'
      >>> change("seeds = 2", "seeds = 3") is None
      True
    """
    before, after = tomllib.loads(old), tomllib.loads(new)
    tables = {table["label"]: table for table in after.pop("sweep")} if "sweep" in after else {}
    for table in before.pop("sweep", []):
        if table["label"] not in tables:
            return f"there is a sweep {table['label']!r}"
        if (found := _difference(table, tables[table["label"]])) is not None:
            return f"{found} in the sweep {table['label']!r}"
    return _difference(before, after)


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    for name in [*before, *after]:
        old, new = before.get(name), after.get(name)
        if not _same_or_more(name, old, new):
            return f"`{name}` is {old!r}, not {new!r}"
    return None


def _same_or_more(name: str, old: Any, new: Any) -> bool:
    if name == "seeds" and old is not None and new is not None:
        return set(_listed(old)) <= set(_listed(new))
    if name == "grid" and isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(value in new[key] for key, values in old.items() for value in values)
    if name == "grid" and isinstance(old, list) and isinstance(new, list):
        return all(point in new for point in old)
    return bool(old == new)


def _listed(seeds: Any) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)
