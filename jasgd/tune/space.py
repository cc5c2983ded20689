"""Hierarchical search spaces: a method is a variable whose value decides which other variables exist.

Saves, Hallé-Hannan, Bussemaker, Diouane, Bartoli, "Hierarchical Modeling and Architecture Optimization: Review and Unified
Framework", 2025, https://arxiv.org/abs/2506.22621. In their words a variable that governs others is *meta*, and one that is
there only for some of its values is *decreed*; *neutral*, for one that is neither, is recalled, not verified. The space is
ConfigSpace's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.tune._extra import configspace

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace

# What a knob may be, see `space`.
Knob = Mapping[Any, Any] | Sequence[Any]

_OF_A_RANGE = {"low", "high", "log", "fraction_of"}
_TAKEN = ("value", "time", "worker", "order", "evaluation")  # in the tables of results


def space(knobs: Mapping[str, Knob], *, seed: int = 0) -> "ConfigurationSpace":
    """A search space, as an object of ConfigSpace; what else it can, such as forbidden combinations, is added to that.

    Args:
      knobs: for every name what it may be:
        ``{"low": 1e-4, "high": 1.0, "log": True}``, a range, of whole numbers if both ends are whole;
        ``[8, 16, 32]``, some numbers, which keep their order; ``["relu", "tanh"]``, some words;
        ``{"fraction_of": "concurrency"}``, a whole number from 1 to another knob, searched as a fraction of it, optionally
        with the ``low`` end of the fraction and ``log``;
        ``{"adam": {...}, "sgd": {...}}``, a meta variable: each of its values has its own knobs, again of all these kinds.
        A knob that several values of one meta variable have must be the same for all.
      seed: of the samples.

    Example:
      >>> space = jasgd.tune.space({
      ...     "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
      ...     "method": {"asynchronous_sgd": {}, "ringmaster": {"threshold": {"low": 1, "high": 256, "log": True}}},
      ... })
      >>> sorted(space.sample_configuration()) in (["learning_rate", "method"], ["learning_rate", "method", "threshold"])
      True
    """
    library = configspace()
    found: dict[str, tuple[Knob, str | None, list[Any]]] = {}
    _collect(knobs, None, None, found)
    made = library.ConfigurationSpace(seed=seed)
    made.add([_variable(name, knob, found) for name, (knob, _, _) in found.items()])
    for name, (_, meta, values) in found.items():
        if meta is None:
            continue
        everywhere = len(values) == len(found[meta][0]) and found[meta][1] is None
        if not everywhere:
            made.add(library.InCondition(made[name], made[meta], values))
    return made


def plain(configuration: "Configuration") -> dict[str, Any]:
    """The active values of a configuration as numbers and words of Python, fractions turned into the numbers they stand for.

    Example:
      >>> space = jasgd.tune.space({"concurrency": [8], "buffer": {"fraction_of": "concurrency", "low": 0.5}})
      >>> 4 <= jasgd.tune.plain(space.sample_configuration())["buffer"] <= 8
      True
    """
    space = configuration.config_space
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in configuration.items()}
    for name, value in values.items():
        if bound := (space[name].meta or {}).get("fraction_of"):
            # The k-th of the bound's equal parts of (0, 1] stands for k.
            values[name] = min(int(value * values[bound]) + 1, values[bound])
    return values


def branch(configuration: "Configuration") -> tuple[Any, ...]:
    """The values of the meta variables that are always there: which method, so to say.

    Example:
      >>> space = jasgd.tune.space({"step": [1, 2], "method": {"sgd": {"momentum": {"low": 0.0, "high": 0.9}}}})
      >>> branch(space.sample_configuration())
      ('sgd',)
    """
    values = plain(configuration)
    return tuple(values[name] for name in metas(configuration.config_space))


def metas(knobs: "ConfigurationSpace") -> list[str]:
    """Names of the variables that govern others and are always there.

    Example:
      >>> metas(jasgd.tune.space({"step": [1, 2], "method": {"a": {"momentum": [0.5, 0.9]}, "b": {}}}))
      ['method']
    """
    return [name for name in knobs if (knobs[name].meta or {}).get("meta") and name not in knobs.conditional_hyperparameters]


def _collect(knobs: Any, meta: str | None, value: Any, found: dict[str, tuple[Knob, str | None, list[Any]]]) -> None:
    """Every knob once, with its meta variable and the values of it that have this knob."""
    if not isinstance(knobs, Mapping):
        raise ValueError(f"the knobs of {value!r} must be a table, {{}} if there are none, got {knobs!r}.")
    for name, knob in knobs.items():
        if not isinstance(name, str) or name in _TAKEN:
            raise ValueError(f"a knob cannot be called {name!r}.")
        if isinstance(knob, str) or not isinstance(knob, Mapping | Sequence) or not knob:
            raise ValueError(f"`{name}` must be a range, a list of values, or a table of choices, got {knob!r}.")
        known, its_meta, values = found.get(name, (knob, meta, []))
        if (known, its_meta) != (knob, meta) or (name in found and meta is None):
            raise ValueError(f"`{name}` is declared twice and differently; give one of the two another name.")
        found[name] = knob, meta, [*values, value]
        if isinstance(knob, Mapping) and is_choice(knob):
            for choice, its_knobs in knob.items():
                if len(found[name][2]) == 1:  # else they are known already
                    _collect(its_knobs, name, choice, found)


def is_choice(knob: Any) -> bool:
    """Whether this is a table of choices, each with knobs of its own.

    Example:
      >>> is_choice({"adam": {}, "sgd": {}}), is_choice({"low": 0.0, "high": 1.0})
      (True, False)
    """
    return isinstance(knob, Mapping) and not _OF_A_RANGE & knob.keys()


def _variable(name: str, knob: Any, found: Mapping[str, Any]) -> Any:
    """A variable of ConfigSpace."""
    library = configspace()
    if is_choice(knob):
        return _one_of(name, list(knob), {"meta": True})
    if not isinstance(knob, Mapping):
        return _one_of(name, list(knob), None)
    if unknown := knob.keys() - _OF_A_RANGE:
        raise ValueError(
            f"the range `{name}` has no {sorted(map(str, unknown))[0]!r}; it has low, high, log and fraction_of."
        )
    log = bool(knob.get("log", False))
    if "fraction_of" in knob:
        bound = knob["fraction_of"]
        low = knob.get("low", 0.01 if log else 0.0)
        if bound not in found or "high" in knob or not _always_with(bound, name, found) or not _is_whole(found[bound][0]):
            raise ValueError(
                f"`{name}` must be a fraction, without `high`, of a whole number that is there with it, got {knob}."
            )
        return library.UniformFloatHyperparameter(name, low, 1.0, log=log, meta={"fraction_of": bound})
    if not {"low", "high"} <= knob.keys() or not all(_is_number(knob[end]) for end in ("low", "high")):
        raise ValueError(f"the range `{name}` needs the numbers `low` and `high`, got {knob}.")
    if not knob["low"] < knob["high"] or (log and knob["low"] <= 0):
        raise ValueError(f"the range `{name}` must increase, and be positive if it is logarithmic, got {knob}.")
    whole = all(isinstance(knob[end], int) for end in ("low", "high"))
    kind = library.UniformIntegerHyperparameter if whole else library.UniformFloatHyperparameter
    return kind(name, knob["low"], knob["high"], log=log)


def _one_of(name: str, values: list[Any], meta: Mapping[str, Any] | None) -> Any:
    """Numbers keep their order, words have none."""
    library = configspace()
    numbers = all(_is_number(value) for value in values)
    if not numbers and not all(isinstance(value, str | bool) for value in values):
        raise ValueError(f"`{name}` must have values of one kind, numbers or words, got {values}.")
    if len(set(values)) < len(values):
        raise ValueError(f"`{name}` has a value twice: {values}.")
    if numbers:
        return library.OrdinalHyperparameter(name, sorted(values), meta=meta)
    return library.CategoricalHyperparameter(name, values, meta=meta)


def _always_with(bound: str, name: str, found: Mapping[str, Any]) -> bool:
    """Wherever this knob is there, its bound is."""
    return found[bound][1] is None or (found[bound][1] == found[name][1] and set(found[name][2]) <= set(found[bound][2]))


def _is_whole(knob: Any) -> bool:
    values = knob.values() if isinstance(knob, Mapping) else knob
    return all(isinstance(value, int) for value in values) and "fraction_of" not in knob


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
