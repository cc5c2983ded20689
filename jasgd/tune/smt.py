"""The space for SMT, the paper's own software, and its efficient global optimisation, for comparison.

SMT 2.15 in its core has one level of decreed variables only, and takes a bare word as the value of a meta variable for its
letters, which silently never activates anything (as in its code).
"""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.tune._extra import configspace

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace


def to_smt(space: "ConfigurationSpace", *, seed: int = 0) -> Any:
    """A ``DesignSpace`` of SMT with the variables in the order of the space.

    Numbers on a logarithmic scale become numbers in [0, 1], values of a list their index.

    Example:
      >>> space = jasgd.tune.space({"method": {"a": {}, "b": {"x": {"low": 0.0, "high": 1.0}}}})
      >>> jasgd.tune.to_smt(space).n_dv  # doctest: +SKIP
      2
    """
    smt, library = _design_space(), configspace()
    if space.forbidden_clauses:
        raise ValueError("a space with forbidden combinations cannot be given to SMT's core; use the backend 'gp'.")
    variables = []
    for knob in space.values():
        if isinstance(knob, library.CategoricalHyperparameter):
            variables.append(smt.CategoricalVariable([str(value) for value in knob.choices]))
        elif isinstance(knob, library.OrdinalHyperparameter):
            variables.append(smt.OrdinalVariable(list(knob.sequence)))
        elif knob.log:
            variables.append(smt.FloatVariable(0.0, 1.0))
        elif isinstance(knob, library.UniformIntegerHyperparameter):
            variables.append(smt.IntegerVariable(knob.lower, knob.upper))
        else:
            variables.append(smt.FloatVariable(knob.lower, knob.upper))
    design = smt.DesignSpace(variables, seed=seed)
    for name in space.conditional_hyperparameters:
        for condition in space.parent_conditions_of[name]:
            meta, values = condition.parent.name, getattr(condition, "values", None) or [condition.value]
            if meta in space.conditional_hyperparameters or len(space.parent_conditions_of[name]) > 1:
                raise ValueError(
                    f"SMT's core has one level of decreed variables, but `{name}` depends on more; use the backend 'gp'."
                )
            words = isinstance(condition.parent, library.CategoricalHyperparameter)
            decree(design, space.index_of[name], space.index_of[meta], [str(v) if words else v for v in values])
    return design


def decree(design: Any, decreed: int, meta: int, values: Sequence[Any]) -> None:
    """Let variable ``decreed`` be active where variable ``meta`` has one of these values.

    Example:
      >>> decree(None, 1, 0, "ringmaster")
      Traceback (most recent call last):
      ValueError: values of a meta variable must be a list, as SMT takes 'ringmaster' for its letters.
    """
    if isinstance(values, str):
        raise ValueError(f"values of a meta variable must be a list, as SMT takes {values!r} for its letters.")
    design.declare_decreed_var(decreed_var=decreed, meta_var=meta, meta_value=list(values))


def from_smt(space: "ConfigurationSpace", x: np.ndarray, active: np.ndarray) -> "Configuration":
    """The configuration of a row of SMT and its activeness mask.

    Example:
      >>> space = jasgd.tune.space({"x": {"low": 0.0, "high": 2.0}})
      >>> dict(from_smt(space, np.array([0.5]), np.array([True])))["x"]
      0.5
    """
    library = configspace()
    vector = np.full(len(space), np.nan)
    for i in np.flatnonzero(active):
        knob = space[space.at[i]]
        listed = isinstance(knob, library.CategoricalHyperparameter | library.OrdinalHyperparameter)
        if listed or knob.log:
            vector[i] = round(x[i]) if listed else x[i]
        else:
            whole = isinstance(knob, library.UniformIntegerHyperparameter)
            vector[i] = knob.to_vector(round(x[i]) if whole else float(x[i]))
    values = {space.at[i]: space[space.at[i]].to_value(vector[i]) for i in np.flatnonzero(active)}
    return library.Configuration(space, values=values)


def ego(
    value_of: "Callable[[Configuration], float]",
    space: "ConfigurationSpace",
    *,
    budget: int,
    initial: int,
    seed: int,
) -> None:
    """Let SMT minimise, with Gower's distance, the Alg distance for decreed variables and expected improvement.

    Example:
      >>> jasgd.tune.search(
      ...     lambda points: [p["x"] for p in points], jasgd.tune.space({"x": {"low": 0.0, "high": 1.0}}),
      ...     budget=6, initial=4, backend="smt",
      ... ).evaluations[0].order  # doctest: +SKIP
      0
    """
    design = to_smt(space, seed=seed)
    from smt.applications import EGO
    from smt.surrogate_models import KRG, MixHrcKernelType, MixIntKernelType

    def loss(x: np.ndarray, **_: Any) -> np.ndarray:
        corrected, active = design.correct_get_acting(np.atleast_2d(x))
        rows = zip(corrected, active, strict=True)
        return np.array([[value_of(from_smt(space, row, mask))] for row, mask in rows])

    surrogate = KRG(
        design_space=design,
        categorical_kernel=MixIntKernelType.GOWER,
        hierarchical_kernel=MixHrcKernelType.ALG_KERNEL,
        theta0=[1e-2],
        corr="squar_exp",
        n_start=5,
        print_global=False,
        seed=seed,
    )
    search = EGO(
        n_iter=max(0, budget - initial),
        criterion="EI",
        n_doe=min(initial, budget),
        surrogate=surrogate,
        seed=seed,
        n_start=10,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its optimisers
        search.optimize(fun=loss)


def _design_space() -> Any:
    try:
        import smt.design_space
    except ImportError:
        raise ImportError('the backend "smt" needs smt: pip install "jasgd[smt]".') from None
    return smt.design_space
