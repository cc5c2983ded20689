"""Stored results, read from their files: runs, races, sweeps, figures and searches."""

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jasgd.results import labels

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """What a file, or a group of it, holds.

    Attributes:
      path: of the file.
      file: a short name of the file, different from those of the others.
      group: its label in the file, empty if there is one result only.
      dataset: the result; its attributes say where it came from.
      configuration: the text that the whole file was made from, if it is known.
    """

    path: Path
    file: str
    group: str
    dataset: "xarray.Dataset"
    configuration: str

    @property
    def name(self) -> str:
        """The file and the group."""
        return f"{self.file}: {self.group}" if self.group else self.file


def read(paths: Sequence[str | os.PathLike[str]]) -> list[Stored]:
    """All results of some files.

    Example:
      >>> history = {"version": [0, 10], "time": [0.0, 2.5], "loss": [1.0, 0.5]}
      >>> run = jasgd.results.to_dataset(history, jasgd.results.provenance())
      >>> jasgd.results.save_dataset(run, tmp_path / "run.nc")
      >>> [found.name for found in read([tmp_path / "run.nc"])]
      ['run']
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    unique = list(dict.fromkeys(Path(path) for path in paths))
    if not unique:
        raise ValueError("name at least one result, such as jasgd-results/run/race.nc.")
    for path in unique:
        _require_file(path)
    return [found for path, name in zip(unique, _short(unique), strict=True) for found in _read(path, name)]


def _require_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(map(str, [*path.glob("**/*.nc"), *path.glob("**/evaluations.json")]))
        hint = f"name a file in it: {', '.join(inside[:3])}" if inside else "there is no result in it"
        raise ValueError(f"{path} is a folder; {hint}.")
    if not path.exists():
        raise ValueError(f"there is no result {path}.")


def _short(paths: Sequence[Path]) -> list[str]:
    """What tells files apart; the names that our commands give say less than the folders around them."""
    named = []
    for path in (path.absolute() for path in paths):
        folder = path.parent.name
        ours = path.stem in ("race", "results", "evaluations")
        named.append(folder if ours else f"{folder} {path.stem}" if re.fullmatch(r"figure\d+", path.stem) else path.stem)
    return named if len(set(named)) == len(named) else list(map(str, paths))


def _read(path: Path, name: str) -> Iterator[Stored]:
    if path.suffix == ".json":
        yield Stored(path=path, file=name, group="", dataset=_search(path), configuration="")
        return
    try:
        with labels().open_datatree(path, engine="h5netcdf") as tree:
            found = tree.load()
    except OSError as error:
        raise ValueError(f"{path} cannot be read as netCDF ({str(error).splitlines()[0]}).") from error
    nodes = [node for node in found.subtree if node.has_data]
    if not nodes:
        raise ValueError(f"{path} is empty: there is no result in it.")
    for node in nodes:
        dataset = node.to_dataset()
        if "jasgd" not in dataset.attrs:
            where = f"{path}, group {node.path}," if node.path != "/" else str(path)
            raise ValueError(
                f"{where} is not a result of jasgd: it lacks the attribute `jasgd` that runs, sweeps and figures carry."
            )
        yield Stored(
            path=path,
            file=name,
            group=node.path.strip("/"),
            dataset=dataset,
            configuration=str(found.attrs.get("configuration", "")),
        )


def _search(path: Path) -> "xarray.Dataset":
    """The evaluations of ``jasgd tune``, and the smallest value so far."""
    from jasgd.tune import Result

    try:
        result = Result.load(path)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a result of jasgd: `jasgd tune` writes evaluations.json otherwise.") from error
    if not result.evaluations:
        raise ValueError(f"{path} is empty: there is no evaluation in it.")
    dataset = result.to_dataset().reset_coords()
    best: dict[str, Any] = result.best.configuration
    columns = {"value": dataset["value"], "smallest value so far": ("evaluation", result.best_so_far)}
    if "time" in dataset:
        columns["time"] = dataset["time"].assign_attrs(units="s")
    count = {"evaluation": ("evaluation", range(1, len(result.evaluations) + 1))}
    attributes = {name: dataset.attrs[name] for name in ("backend", "seed", "jasgd")}
    return labels().Dataset(columns, count, {**attributes, "best": json.dumps(best)})
