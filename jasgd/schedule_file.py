"""Schedules on disk: compressed ``.npz`` files."""

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.ledger import DroppedJobs, Ledger
from jasgd.traffic import Contents, Traffic

if TYPE_CHECKING:
    from jasgd.schedule import Schedule

_SCHEMA = "jasgd schedule 1"
_ABOUT = ("num_workers", "clock", "protocol", "arguments", "jobs_in_flight", "parallel")
_COLUMNS = ("worker", "job", "read", "start", "time", "weight", "apply")
_PARTS: dict[str, Any] = {"ledger": Ledger, "contents": Contents, "lost": Traffic, "dropped_jobs": DroppedJobs}  # of arrays


def write(schedule: "Schedule", path: str | os.PathLike[str]) -> None:
    """Write a schedule."""
    about = {name: getattr(schedule, name) for name in _ABOUT}
    arrays = {name: getattr(schedule, name) for name in _COLUMNS}
    for name, kind in _PARTS.items():
        part = getattr(schedule, name)
        about[f"has_{name}"] = part is not None
        if part is not None:
            arrays |= {f"{name}_{field}": getattr(part, field) for field in _fields(kind)}
    if schedule.wire_seconds is not None:
        arrays["wire_seconds"] = schedule.wire_seconds
    with open(path, "wb") as file:
        np.savez_compressed(file, schema=_SCHEMA, about=json.dumps(about, default=_plain), **arrays)


def read(kind: type["Schedule"], path: str | os.PathLike[str]) -> "Schedule":
    """Read what :func:`write` wrote, and verify it."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no schedule at {path}; schedule.save(path) writes one.") from None
    except Exception as error:  # a damaged archive may fail in any way
        raise ValueError(f"{path} cannot be read as a schedule: it is damaged or another kind of file.") from error
    if str(stored.get("schema")) != _SCHEMA:
        raise ValueError(f"{path} is not a schedule of this version: expected {_SCHEMA!r}, got {stored.get('schema')}.")
    try:
        about = json.loads(str(stored.get("about", "null"))) or {}
        has = [name for name in _PARTS if about.pop(f"has_{name}", False)]
        needed = {"about", *_COLUMNS, *(f"{name}_{field}" for name in has for field in _fields(_PARTS[name]))}
        if needed - set(stored):
            raise ValueError(f"it lacks {sorted(needed - set(stored))}")
        parts = {name: _PARTS[name](**{f: stored[f"{name}_{f}"] for f in _fields(_PARTS[name])}) for name in has}
        if "ledger" in parts:
            ledger: Ledger = parts["ledger"]
            parts["ledger"] = dataclasses.replace(
                ledger, lost_delay=int(ledger.lost_delay), lost=parts.get("lost"), dropped_jobs=parts.get("dropped_jobs")
            )
        columns = {name: stored[name] for name in _COLUMNS}
        schedule = kind(**columns, **parts, **about, wire_seconds=stored.get("wire_seconds"))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is incomplete: {error}.") from error
    try:
        return schedule.verify()
    except ValueError as error:
        raise ValueError(f"{path} holds a schedule that breaks a law: {error}") from error


def _fields(kind: Any) -> list[str]:
    """The arrays of a part; the parts of a ledger are stored with the schedule."""
    return [field.name for field in dataclasses.fields(kind) if field.name not in _PARTS]


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's own, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"the argument {value!r} cannot be stored with a schedule.")
