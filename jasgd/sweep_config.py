"""Configurations of ``jasgd sweep``: a TOML file that names what is combined, or a Python file that makes it.

In TOML every table with a ``name`` calls a function of jasgd, or as a rule one of Optax, with the other keys as keywords.
A name of a grid goes to the one function that takes it and has no value for it yet.
"""

import dataclasses
import importlib.util
import inspect
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax

from jasgd import fleet, methods, problems, protocols, rules
from jasgd._checks import or_rather
from jasgd.grid import grid_of
from jasgd.sweeps import sweep
from jasgd.traffic import same_traffic

_MODULES = {
    "problem": (problems,),
    "fleet": (fleet,),
    "protocol": (protocols,),
    "rule": (rules, optax),
    "method": (methods,),
}
_OF_ALL = ("seeds", "every", "times", "snapshot_dtype")
_TOP = ("key", *_OF_ALL, "problem", "fleet", "sweep")
_OF_A_SWEEP = ("label", "problem", "fleet", "protocol", "rule", "method", "grid", "schedule_per_seed", "snapshot_dtype")
_OF_THE_COMMAND = ("resume", "save_every", "progress", "devices")
# With these a method's rule may follow from its schedule; rules do not get to know the seed.
_FROM_SCHEDULE = ("smoothness", "source")


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """For every label of a configuration the keyword arguments of :func:`jasgd.sweep`.

    Example:
      >>> path = tmp_path / "two.toml"
      >>> _ = path.write_text('''
      ... seeds = 3
      ... key = 0
      ... problem = {name = "quadratic", dim = 10}
      ... fleet = {name = "equal", num_workers = 4}
      ... [[sweep]]
      ... label = "asynchronous"
      ... protocol = {name = "asynchronous", updates = 100}
      ... rule = {name = "sgd"}
      ... grid = {learning_rate = [0.01, 0.1]}
      ... ''')
      >>> dict(jasgd.sweep(**read_config(path)["asynchronous"])["diverged"].sizes)
      {'learning_rate': 2, 'seed': 3}
    """
    if path.suffix not in (".toml", ".py"):
        raise ValueError(f"a configuration is a .toml or a .py file, got {path}.")
    if not path.is_file():
        raise ValueError(f"there is no configuration {path}.")
    try:
        return _read_toml(path) if path.suffix == ".toml" else _read_python(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_python(path: Path) -> dict[str, dict[str, Any]]:
    path = path.resolve()
    sys.path.insert(0, str(path.parent))  # as if Python had been started with the file
    spec = importlib.util.spec_from_file_location("jasgd_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        labelled = module.sweeps() if hasattr(module, "sweeps") else None
    except Exception as error:
        raise with_line(error, path) from error
    if not isinstance(labelled, Mapping) or not labelled or not all(isinstance(v, Mapping) for v in labelled.values()):
        raise ValueError(
            "a Python configuration needs a function `sweeps()` that returns {label: arguments of jasgd.sweep}."
        )
    _check_labels(list(labelled))
    parameters = inspect.signature(sweep).parameters
    known = [name for name in parameters if name not in _OF_THE_COMMAND]
    for label, arguments in labelled.items():
        taken = [name for name in arguments if name in _OF_THE_COMMAND]
        if taken:
            raise ValueError(f"{label}: `{taken[0]}` is an option of the command, not of the configuration.")
        require_known(arguments, known, f"{label}: jasgd.sweep has no argument")
        missing = [name for name in known if parameters[name].default is inspect.Parameter.empty and name not in arguments]
        if missing:
            raise ValueError(f"{label}: `{missing[0]}` is missing.")
    return {label: dict(arguments) for label, arguments in labelled.items()}


def with_line(error: Exception, path: Path) -> Exception:
    """An error with the line of a Python configuration where it arose; if it arose elsewhere, the same one.

    Example:
      >>> with_line(ValueError("too large"), tmp_path / "config.py")
      ValueError('too large')
    """
    if isinstance(error, SyntaxError):
        return ValueError(f"line {error.lineno}: {error.msg}")
    here = str(path.resolve())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == here]
    return ValueError(f"line {lines[-1]}: {type(error).__name__}: {error}") if lines else error


def _read_toml(path: Path) -> dict[str, dict[str, Any]]:
    content = tomllib.loads(path.read_text())
    require_known(content, _TOP, "there is no key")
    tables = content.get("sweep")
    if not _is_tables(tables) or not tables:
        raise ValueError("at least one [[sweep]] is needed.")
    key = content.get("key")
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**32:
        raise ValueError(f"`key` must be a whole number from 0 to 2^32 - 1, got {key!r}.")
    if "every" in content and "times" in content:
        raise ValueError("give `every` or `times`, not both.")
    _check_labels([table.get("label") for table in tables])
    for name in ("problem", "fleet"):
        if name in content and all(name in table for table in tables):
            raise ValueError(f"no [[sweep]] uses the shared `{name}`, as each has its own.")
    common: dict[str, Any] = {name: content[name] for name in _OF_ALL if name in content}
    common["key"] = jax.random.key(key)
    shared: dict[str, Any] = {name: content[name] for name in ("problem", "fleet") if name in content}
    found, used = {}, set[str]()
    for table in tables:
        try:
            arguments, mine = _arguments(table, shared)
        except ValueError as error:
            raise ValueError(f"{table['label']}: {error}") from error
        found[table["label"]] = {**common, **arguments}
        used |= mine - table.keys()
    if "fleet" in content and "fleet" not in used:
        raise ValueError("no [[sweep]] uses the shared `fleet`: their protocols take none, or they have their own.")
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A table of the file: a function, and the arguments that it has there."""

    kind: str
    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Keywords that the file may give."""
        return [name for name in inspect.signature(self.function).parameters if name != "fleet"]

    @property
    def takes_fleet(self) -> bool:
        """Whether the function is made for a fleet."""
        return "fleet" in inspect.signature(self.function).parameters

    def require_complete(self, grid: Iterable[str]) -> None:
        """Every keyword without default has a value here or in the grid."""
        for name, parameter in inspect.signature(self.function).parameters.items():
            positional = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            given = name in self.arguments or name in grid or name == "fleet"
            if positional and parameter.default is inspect.Parameter.empty and not given:
                raise ValueError(f"the {self.kind} {self.name!r} needs `{name}`, in its table or in the grid.")

    def make(self, values: Mapping[str, Any], **others: Any) -> Any:
        """Call the function with its own arguments, its share of the grid's names, and a fleet or seed."""
        mine = {**self.arguments, **values}
        try:
            return self.function(**mine, **others)
        except TypeError as error:
            raise ValueError(f"the {self.kind} {self.name!r} does not accept {mine}: {error}.") from error


def _arguments(table: Mapping[str, Any], shared: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Arguments of :func:`jasgd.sweep` for one [[sweep]], and the kinds of tables that it uses."""
    require_known(table, _OF_A_SWEEP, "there is no key")
    if {"protocol", "rule", "method"} & table.keys() not in ({"protocol", "rule"}, {"method"}):
        raise ValueError("give either a `protocol` and a `rule`, or a `method`.")
    per_seed = table.get("schedule_per_seed", False)
    if not isinstance(per_seed, bool):
        raise ValueError(f"`schedule_per_seed` must be true or false, got {per_seed!r}.")
    tables = {**shared, **table}
    parts = {kind: part_of(kind, tables[kind]) for kind in _MODULES if kind in tables}
    if "problem" not in parts:
        raise ValueError("there is no `problem`.")
    timed = parts["method" if "method" in parts else "protocol"]
    if timed.takes_fleet and "fleet" not in parts:
        raise ValueError(f"the {timed.kind} {timed.name!r} needs a `fleet`.")
    if not timed.takes_fleet and "fleet" in table:
        raise ValueError(f"the {timed.kind} {timed.name!r} takes no `fleet`.")
    if not timed.takes_fleet:
        parts.pop("fleet", None)
    if per_seed and "seed" not in timed.names:
        raise ValueError(f"the {timed.kind} {timed.name!r} has no `seed`, so its schedule cannot differ from seed to seed.")
    if per_seed and "seed" in timed.arguments:
        raise ValueError(f"with `schedule_per_seed` the {timed.kind} cannot have a `seed` of its own.")
    grid = table.get("grid")
    if grid is not None and not isinstance(grid, dict) and not _is_tables(grid):
        raise ValueError(f"`grid` must be a table of lists, or a list of tables, got {grid!r}.")
    owners = _owners(list(grid_of(grid).coords), parts)
    for kind, part in parts.items():
        part.require_complete(owners[kind])
    if per_seed and "method" in parts and (names := {*timed.arguments, *owners["method"]}.intersection(_FROM_SCHEDULE)):
        raise ValueError(
            f"with `{min(names)}` the rule of a method may follow from its schedule, so there can be no `schedule_per_seed`."
        )
    own = {name: table[name] for name in ("snapshot_dtype",) if name in table}
    return {"grid": grid, **own, **_makers(parts, owners, per_seed)}, set(parts)


def _owners(grid: list[str], parts: Mapping[str, Part]) -> dict[str, list[str]]:
    """Which names of the grid each part gets."""
    owners: dict[str, list[str]] = {kind: [] for kind in parts}
    for name in grid:
        takers = [kind for kind, part in parts.items() if name in part.names]
        free = [kind for kind in takers if name not in parts[kind].arguments]
        if not takers:
            require_known([name], sorted({n for part in parts.values() for n in part.names}), "no function takes")
        if not free:
            raise ValueError(f"`{name}` of the grid has a value in `{takers[0]}` already.")
        if len(free) > 1:
            raise ValueError(f"`{name}` of the grid could belong to {' or '.join(free)}; give all but one of them a value.")
        owners[free[0]].append(name)
    return owners


def _makers(parts: Mapping[str, Part], owners: Mapping[str, list[str]], per_seed: bool) -> dict[str, Any]:
    """Functions of the names they own, as :func:`jasgd.sweep` takes them."""
    timed = parts["method" if "method" in parts else "protocol"]
    names = [*owners.get("fleet", []), *owners[timed.kind]]

    def make(kind: str, values: Mapping[str, Any], **others: Any) -> Any:
        return parts[kind].make({name: values[name] for name in owners[kind]}, **others)

    def on_fleet(values: Mapping[str, Any]) -> Any:
        others = {"fleet": make("fleet", values)} if "fleet" in parts else {}
        if "seed" in values:
            others["seed"] = values["seed"]
        return make(timed.kind, values, **others)

    problem = function_of(parts["problem"].name, owners["problem"], lambda values: make("problem", values))
    if timed.kind == "method":
        method = _kept(on_fleet)
        schedule, rule = (lambda values: method(values)[0]), function_of(timed.name, names, lambda values: method(values)[1])
    else:
        schedule, rule = on_fleet, function_of(parts["rule"].name, owners["rule"], lambda values: make("rule", values))
    schedule = function_of(timed.name, [*names, *(["seed"] if per_seed else [])], schedule)
    return {"problem": problem, "rule": rule, "schedule": schedule}


def _kept(make: Callable[[Mapping[str, Any]], methods.Method]) -> Callable[[Mapping[str, Any]], tuple[Any, Any]]:
    """Schedule and rule of a method, made once for the two functions that ask; equal schedules are kept once."""
    found: dict[Any, tuple[Any, Any]] = {}

    def made(values: Mapping[str, Any]) -> tuple[Any, Any]:
        case = tuple(sorted(values.items()))
        if case not in found:
            method = make(values)
            mine = method.schedule
            schedule = next((s for s, _ in found.values() if s == mine and same_traffic(s, mine)), mine)
            found[case] = schedule, method.rule
        return found[case]

    return made


def function_of(name: str, names: Iterable[str], make: Callable[[Mapping[str, Any]], Any]) -> Callable[..., Any]:
    """A function of these keywords, for :func:`jasgd.grid.names_asked_for`."""

    def maker(**values: Any) -> Any:
        return make(values)

    keywords = [inspect.Parameter(keyword, inspect.Parameter.KEYWORD_ONLY) for keyword in names]
    maker.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    maker.__qualname__ = name
    return maker


def part_of(kind: str, table: Any) -> Part:
    """What a table names, checked."""
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise ValueError(f"`{kind}` must be a table with a `name`, got {table!r}.")
    functions = {name: f for module in reversed(_MODULES[kind]) for name, f in _functions(module).items()}
    name = table["name"]
    require_known([name], functions, f"there is no {kind} called")
    part = Part(kind=kind, name=name, function=functions[name], arguments={k: v for k, v in table.items() if k != "name"})
    require_known(part.arguments, part.names, f"the {kind} {name!r} does not take")
    for key, value in part.arguments.items():
        if not isinstance(value, bool | int | float | str | list):
            raise ValueError(f"`{key}` of the {kind} {name!r} must be a number, a string or a list; else write Python.")
    return part


def _functions(module: Any) -> dict[str, Callable[..., Any]]:
    found = {name: f for name, f in vars(module).items() if inspect.isfunction(f) and not name.startswith("_")}
    return {name: f for name, f in found.items() if f.__module__.startswith(module.__name__)}


def require_known(names: Iterable[Any], known: Iterable[str], sentence: str) -> None:
    """Refuse other names, with the nearest one that is known."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"{sentence} {name!r}; {or_rather(name, known)}")


def _check_labels(labels: list[Any]) -> None:
    """Labels name folders and groups of a file."""
    for label in labels:
        plain = isinstance(label, str) and label.replace("_", "a").replace("-", "a").replace(" ", "a").isalnum()
        if not plain or label != label.strip():
            raise ValueError(f"every sweep needs a `label` of letters, digits, '_', '-' and spaces, got {label!r}.")
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"the label {twice[0]!r} is used twice.")


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(table, dict) for table in value)
