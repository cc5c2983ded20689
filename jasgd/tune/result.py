"""What a search has found."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.results import labels, provenance

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A configuration and what it is worth.

    Attributes:
      configuration: its active values, as numbers and words of Python.
      value: of the objective, small is good.
      order: 0 for the evaluation that was finished first.
      time: when it was finished, in seconds of the evaluators; None without evaluators.
      worker: which evaluator it was.

    Example:
      >>> jasgd.tune.Evaluation(configuration={"method": "asynchronous_sgd"}, value=-1.5, order=0).value
      -1.5
    """

    configuration: dict[str, Any]
    value: float
    order: int
    time: float | None = None
    worker: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """All evaluations of a search.

    Attributes:
      evaluations: in the order in which they were finished.
      backend, seed: of the search.
    """

    evaluations: tuple[Evaluation, ...]
    backend: str
    seed: int

    @property
    def best(self) -> Evaluation:
        """The evaluation with the smallest value, the first of them.

        Example:
          >>> result = jasgd.tune.search(
          ...     lambda points: [p["x"] ** 2 for p in points], jasgd.tune.space({"x": [-1, 0, 2]}), budget=3, backend="grid"
          ... )
          >>> result.best.configuration
          {'x': 0}
        """
        return min(self.evaluations, key=lambda evaluation: evaluation.value)

    @property
    def best_so_far(self) -> np.ndarray:
        """(evaluations,) the smallest value among the first 1, 2, ... evaluations.

        Example:
          >>> result = jasgd.tune.search(
          ...     lambda points: [p["x"] ** 2 for p in points], jasgd.tune.space({"x": [-1, 0, 2]}), budget=3, backend="grid"
          ... )
          >>> float(result.best_so_far[-1])
          0.0
        """
        return np.minimum.accumulate([evaluation.value for evaluation in self.evaluations])

    def to_dataset(self) -> "xarray.Dataset":
        """A table along ``evaluation``; where a knob is inactive it is NaN, or an empty word.

        Example:
          >>> knobs = {"method": {"plain": {}, "heavy ball": {"momentum": [0.5, 0.9]}}}
          >>> result = jasgd.tune.search(
          ...     lambda points: [p.get("momentum", 0.7) for p in points], jasgd.tune.space(knobs), budget=3, backend="grid"
          ... )
          >>> int(result.to_dataset()["momentum"].isnull().sum())
          1
        """
        names = list(dict.fromkeys(name for evaluation in self.evaluations for name in evaluation.configuration))
        columns: dict[str, Any] = {"value": [evaluation.value for evaluation in self.evaluations]}
        if self.evaluations and self.evaluations[0].time is not None:
            columns["time"] = [evaluation.time for evaluation in self.evaluations]
            columns["worker"] = [evaluation.worker for evaluation in self.evaluations]
        for name in names:
            column = [evaluation.configuration.get(name) for evaluation in self.evaluations]
            if any(isinstance(value, str | bool) for value in column):
                columns[name] = ["" if value is None else str(value) for value in column]
            else:
                columns[name] = [np.nan if value is None else float(value) for value in column]
        attributes = provenance(backend=self.backend, seed=self.seed)
        variables = {name: ("evaluation", np.asarray(column)) for name, column in columns.items()}
        return labels().Dataset(variables, attrs=attributes).set_coords(names)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file.

        Example:
          >>> result = jasgd.tune.search(
          ...     lambda points: [p["x"] ** 2 for p in points], jasgd.tune.space({"x": [-1, 0, 2]}), budget=3, backend="grid"
          ... )
          >>> result.save(tmp_path / "search.json")
          >>> jasgd.tune.Result.load(tmp_path / "search.json") == result
          True
        """
        Path(path).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Result":
        """Read what :meth:`save` wrote.

        Example:
          >>> result = jasgd.tune.Result(evaluations=(), backend="gp", seed=0)
          >>> result.save(tmp_path / "search.json")
          >>> jasgd.tune.Result.load(tmp_path / "search.json").backend
          'gp'
        """
        found = json.loads(Path(path).read_text())
        return cls(**{**found, "evaluations": tuple(Evaluation(**each) for each in found["evaluations"])})
