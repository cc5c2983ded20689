"""The job of ``jasgd tune``: a search from a configuration; a table, a file and a picture."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from jasgd.hosts import use_all_cores
from jasgd.output import listed, show, to_go_on
from jasgd.tune.config import read_config
from jasgd.tune.picture import parallel_coordinates
from jasgd.tune.result import Evaluation, Result
from jasgd.tune.search import search


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneCommand:
    """Search for the best method and its knobs, as a configuration says.

    Values are kept: the same command goes on after a stop, and a larger budget reuses those of a smaller one.

    Examples:
      jasgd tune experiments/tune_example/which_method.toml
      jasgd tune study.toml --out here --no-progress --json
    """

    config: Path
    """A .toml file: problem, fleet, seconds, budget, and a space of methods and their knobs."""
    out: Path | None = None
    """Folder for the result and the picture; by default jasgd-results/NAME OF THE CONFIGURATION."""
    progress: bool = True
    """Show a progress bar."""
    json: bool = False
    """Print one JSON document instead of a table."""


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
    folder = Path("jasgd-results") / command.config.stem if command.out is None else command.out
    arguments = read_config(command.config, kept=folder / "values.jsonl")
    use_all_cores()
    try:
        result = _search(arguments, command.progress)
    except KeyboardInterrupt as stop:
        stop.add_note(to_go_on(f"finished evaluations are kept in {folder}"))
        raise
    folder.mkdir(parents=True, exist_ok=True)
    files = {"result": folder / "evaluations.json", "picture": folder / "evaluations.png"}
    result.save(files["result"])
    parallel_coordinates(result, files["picture"])
    to_open = f"jasgd.tune.Result.load({str(files['result'])!r}).to_dataset()"
    document = {"best": result.best, **dataclasses.asdict(result), "files": files}
    show(f"{_table(result)}\n\n{listed(**files, to_open=to_open)}", document, as_json=command.json)


def _search(arguments: dict[str, Any], progress: bool) -> Result:
    with _bar(arguments["budget"], progress) as bar:
        best = math.inf

        def count(evaluation: Evaluation) -> None:
            nonlocal best
            best = min(best, evaluation.value)
            bar.set_postfix_str(f"best {best:.4g}", refresh=False)
            bar.update()

        return search(**arguments, progress=count)


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
