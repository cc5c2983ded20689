"""The job of ``jasgd tune``: a search from a configuration; a table, a file and a picture."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from jasgd.hosts import use_all_cores
from jasgd.tune.config import read_config
from jasgd.tune.picture import parallel_coordinates
from jasgd.tune.result import Evaluation, Result
from jasgd.tune.search import search


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneCommand:
    """Search for the best method and its knobs, as a configuration says."""

    config: Path
    """A .toml file: problem, fleet, seconds, budget, and a space of methods and their knobs."""
    out: Path | None = None
    """Folder for the result and the picture; by default jasgd-results/NAME OF THE CONFIGURATION."""
    progress: bool = True
    """Show a progress bar."""


def tune_command(command: TuneCommand) -> None:
    """Run the command.

    Example:
      >>> config = tmp_path / "small.toml"
      >>> _ = config.write_text('''
      ... key = 0
      ... budget = 3
      ... backend = "random"
      ... seconds = 30.0
      ... metric = "gap"
      ... problem = {name = "quadratic", dim = 10}
      ... fleet = {name = "equal", num_workers = 4}
      ... [space]
      ... learning_rate = {low = 1e-3, high = 1.0, log = true}
      ... [space.method.asynchronous_sgd]
      ... ''')
      >>> tune_command(TuneCommand(config=config, out=tmp_path / "found", progress=False))  # doctest: +ELLIPSIS
      value  method            knobs
      ...
    """
    arguments = read_config(command.config)
    use_all_cores()
    folder = Path("jasgd-results") / command.config.stem if command.out is None else command.out
    folder.mkdir(parents=True, exist_ok=True)
    with _bar(arguments["budget"], command.progress) as bar:
        best = math.inf

        def show(evaluation: Evaluation) -> None:
            nonlocal best
            best = min(best, evaluation.value)
            bar.set_postfix_str(f"best {best:.4g}", refresh=False)
            bar.update()

        result = search(**arguments, progress=show)
    result.save(folder / "evaluations.json")
    parallel_coordinates(result, folder / "evaluations.png")
    print(
        f"{_table(result)}\n\nresult   {folder / 'evaluations.json'}\npicture  {folder / 'evaluations.png'}\n"
        f"to open  jasgd.tune.Result.load({str(folder / 'evaluations.json')!r}).to_dataset()"
    )


def _table(result: Result, rows: int = 8) -> str:
    """The best evaluations."""
    best = sorted(result.evaluations, key=lambda evaluation: evaluation.value)[:rows]
    lines = [("value", "method", "knobs")]
    for evaluation in best:
        knobs = {name: value for name, value in evaluation.configuration.items() if name != "method"}
        listed = ", ".join(f"{name}={_short(value)}" for name, value in knobs.items())
        lines.append((f"{evaluation.value:.4g}", str(evaluation.configuration["method"]), listed))
    a, b = (max(len(line[i]) for line in lines) for i in range(2))
    return "\n".join(f"{value:>{a}}  {method:<{b}}  {knobs}" for value, method, knobs in lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bar(total: int, show: bool) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError('the progress bar needs tqdm: pip install "jasgd[experiments]".') from None
    return tqdm(total=total, unit=" evaluations", desc="tune", disable=not show)
