"""Optuna's tree-structured Parzen estimator on the same space, for comparison."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jasgd.tune._extra import configspace

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace


def tpe(value_of: "Callable[[Configuration], float]", space: "ConfigurationSpace", *, budget: int, seed: int) -> None:
    """Let Optuna minimise, with its multivariate and grouped TPE; a knob is asked for only where it is active.

    Example:
      >>> jasgd.tune.search(
      ...     lambda points: [p["x"] for p in points], jasgd.tune.space({"x": [1, 2]}), budget=2, backend="optuna"
      ... ).best.value  # doctest: +SKIP
      1.0
    """
    try:
        import optuna
    except ImportError:
        raise ImportError('the backend "optuna" needs optuna: pip install "jasgd[optuna]".') from None
    if space.forbidden_clauses:
        raise ValueError("a space with forbidden combinations cannot be given to Optuna; use the backend 'gp'.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: value_of(_asked(trial, space)), n_trials=budget)


def _asked(trial: Any, space: "ConfigurationSpace") -> "Configuration":
    """A trial's values, each asked for after those that decide whether it is active."""
    library = configspace()
    values: dict[str, Any] = {}
    for name, knob in space.items():
        conditions = space.parent_conditions_of[name]
        if not all(one.parent.name in values and one.satisfied_by_value(values) for one in conditions):
            continue
        if isinstance(knob, library.UniformFloatHyperparameter):
            values[name] = trial.suggest_float(name, knob.lower, knob.upper, log=knob.log)
        elif isinstance(knob, library.UniformIntegerHyperparameter):
            values[name] = trial.suggest_int(name, knob.lower, knob.upper, log=knob.log)
        else:
            listed = knob.choices if isinstance(knob, library.CategoricalHyperparameter) else knob.sequence
            values[name] = listed[trial.suggest_categorical(name, range(len(listed)))]
    return library.Configuration(space, values=values)
