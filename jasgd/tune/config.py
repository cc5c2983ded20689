"""Configurations of ``jasgd tune``: a TOML file in the words of ``jasgd sweep``, with a search space in place of grids."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from jasgd import methods
from jasgd.fingerprint import fingerprint
from jasgd.sweep_config import Part, function_of, part_of, require_known
from jasgd.tune.jasgd_space import jasgd_space
from jasgd.tune.kept import Kept
from jasgd.tune.objective import Objective
from jasgd.tune.space import is_choice, space

_OF_THE_SEARCH = ("budget", "seed", "backend", "initial", "batch", "noisy")
_OF_THE_OBJECTIVE = ("seconds", "seeds", "metric", "goal", "cap")
_TOP = ("key", *_OF_THE_SEARCH, *_OF_THE_OBJECTIVE, "problem", "fleet", "evaluators", "space")


def read_config(path: Path, *, kept: Path | None = None) -> dict[str, Any]:
    """The keyword arguments of :func:`jasgd.tune.search`.

    Args:
      path: of the configuration.
      kept: of a file in which values are kept (:mod:`jasgd.tune.kept`), so that none is computed twice.

    Example:
      >>> path = tmp_path / "small.toml"
      >>> _ = path.write_text('''
      ... key = 0
      ... budget = 6
      ... seconds = 30.0
      ... metric = "gap"
      ... problem = {name = "quadratic", dim = 10}
      ... fleet = {name = "equal", num_workers = 4}
      ... [space]
      ... learning_rate = {low = 1e-3, high = 1.0, log = true}
      ... [space.method.asynchronous_sgd]
      ... [space.method.ringmaster]
      ... threshold = [1, 2, 4]
      ... ''')
      >>> jasgd.tune.search(**read_config(path), backend="random").evaluations[0].value < 4.0
      True
    """
    if path.suffix != ".toml" or not path.is_file():
        raise ValueError(f"there is no configuration {path}; it must be a .toml file.")
    try:
        return _arguments(tomllib.loads(path.read_text()), kept)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _arguments(content: Mapping[str, Any], kept: Path | None) -> dict[str, Any]:
    require_known(content, _TOP, "there is no key")
    if missing := [name for name in ("key", "budget", "seconds", "problem", "fleet") if name not in content]:
        raise ValueError(f"there is no `{missing[0]}`.")
    key = content["key"]
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**32:
        raise ValueError(f"`key` must be a whole number from 0 to 2^32 - 1, got {key!r}.")
    fleet = _complete(part_of("fleet", content["fleet"])).make({})
    problem = part_of("problem", content["problem"])
    knobs = content.get("space")
    if knobs is not None:
        _require_methods(knobs, problem)
    value = Objective(
        _made_from(problem, knobs or {}),
        fleet,
        key=jax.random.key(key),
        **{name: content[name] for name in _OF_THE_OBJECTIVE if name in content},
    )
    evaluators = {}
    if "evaluators" in content:
        evaluators["evaluators"] = _complete(part_of("fleet", content["evaluators"])).make({})
    from jasgd import __version__  # not before all of jasgd is there

    of_value = {name: content[name] for name in ("key", "problem", "fleet", *_OF_THE_OBJECTIVE) if name in content}
    return {
        "objective": value if kept is None else Kept(value, kept, of=fingerprint(repr(of_value), __version__)),
        "space": jasgd_space(fleet) if knobs is None else space(knobs),
        **{name: content[name] for name in _OF_THE_SEARCH if name in content},
        **evaluators,
    }


def _complete(part: Part) -> Part:
    part.require_complete([])
    return part


def _made_from(problem: Part, knobs: Mapping[str, Any]) -> Callable[..., Any]:
    """The problem as a function of the knobs that it takes, or as it is if there are none."""
    names = [name for name in knobs if name in problem.names and name not in problem.arguments]
    problem.require_complete(names)
    if not names:
        return problem.make({})
    return function_of(problem.name, names, problem.make)


def _require_methods(knobs: Any, problem: Part) -> None:
    """Every knob is one that its method or the problem takes."""
    if not isinstance(knobs, Mapping) or not is_choice(knobs.get("method")):
        raise ValueError("the `space` needs a table for every method, such as [space.method.ringmaster].")
    shared = [name for name in knobs if name != "method" and name not in problem.names]
    for method, mine in knobs["method"].items():
        require_known([method], [name for name in methods.__all__ if name != "Method"], "there is no method called")
        part = part_of("method", {"name": method})
        names = [*shared, *_names(mine)]
        require_known(names, [name for name in part.names if name != "updates"], f"the method {method!r} does not take")
        part.require_complete([*names, "updates"])


def _names(knobs: Any) -> Iterator[str]:
    if isinstance(knobs, Mapping):
        for name, knob in knobs.items():
            yield name
            if is_choice(knob):
                for its_knobs in knob.values():
                    yield from _names(its_knobs)
