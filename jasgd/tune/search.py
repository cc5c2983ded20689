"""The search for the configuration with the smallest value."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jasgd import protocols
from jasgd.fleet import Fleet
from jasgd.tune._extra import configspace
from jasgd.tune.proposals import GaussianProcessProposals, GridProposals, Proposals, RandomProposals, branches
from jasgd.tune.result import Evaluation, Result
from jasgd.tune.space import branch, plain

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace

# The values of several configurations, small is good; such as those of `jasgd.tune.Objective`.
Function = Callable[[Sequence[Mapping[str, Any]]], Sequence[float]]
Backend = Literal["gp", "random", "grid", "smt", "optuna"]


def search(
    objective: Function,
    space: "ConfigurationSpace",
    *,
    budget: int,
    seed: int = 0,
    backend: Backend = "gp",
    initial: int | None = None,
    batch: int = 1,
    evaluators: Fleet | None = None,
    cap: float | None = None,
    noisy: bool = False,
    progress: Callable[[Evaluation], None] | None = None,
) -> Result:
    """Minimise a function of configurations; with the same seed and the same values, to the last bit, it finds the same.

    Args:
      objective: gets a list of configurations, each a dict of its active values, and returns their values.
      space: of :func:`jasgd.tune.space`.
      budget: how many evaluations.
      seed: of everything random in the search.
      backend: "gp", a Gaussian process on the embedding of :func:`jasgd.tune.embed` and expected improvement; "random";
        "grid", the coarsest grid with enough points, in random order; "smt" and "optuna", these libraries' own search.
      initial: evaluations at random before the Gaussian process, or SMT's, is asked; by default 12, or two per method.
      batch: how many configurations are proposed before the next values are seen. Those that are pending count with the
        smallest value so far. One place of every batch is for the method that has waited longest, so none is forgotten.
      evaluators: instead of batches, workers that need time: each evaluates one configuration after the other, and gets
        the next one when it has finished, without waiting for the others.
      cap: values above it, and those that are no numbers, count as this much.
      noisy: let the Gaussian process see noise in the values.
      progress: is called with every evaluation.

    Example:
      >>> space = jasgd.tune.space({"method": {"line": {"x": {"low": 0.0, "high": 1.0}}, "point": {}}})
      >>> result = jasgd.tune.search(lambda points: [(p.get("x", 2) - 0.3) ** 2 for p in points], space, budget=16, seed=0)
      >>> bool(result.best.value < 1e-3)
      True
    """
    configspace()
    for name, number in (("budget", budget), ("batch", batch)):
        if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
            raise ValueError(f"`{name}` must be a positive whole number, got {number!r}.")
    if initial is not None and not 1 <= initial <= budget:
        raise ValueError(f"`initial` must lie between 1 and the budget of {budget}, got {initial}.")
    if backend in ("smt", "optuna"):
        if batch > 1 or evaluators is not None or noisy:
            raise ValueError(
                f"the backend {backend!r} evaluates one after the other; leave out batch, evaluators and noisy."
            )
        return _elsewhere(_checked(objective, cap), space, budget, seed, backend, initial, progress)
    if batch > 1 and evaluators is not None:
        raise ValueError("give `batch` or `evaluators`, not both.")
    proposals = _proposals(backend, space, budget, seed, initial, noisy)
    loop = _Loop(_checked(objective, cap), proposals, budget, progress)
    if evaluators is None:
        loop.in_batches(batch, branches(space) if batch > 1 and backend == "gp" else [])
    else:
        loop.asynchronously(evaluators, seed)
    return Result(evaluations=tuple(loop.found), backend=backend, seed=seed)


def _proposals(backend: str, space: Any, budget: int, seed: int, initial: int | None, noisy: bool) -> Proposals:
    match backend:
        case "gp":
            return GaussianProcessProposals(space, initial=initial, seed=seed, noisy=noisy)
        case "random":
            return RandomProposals(space, budget, seed)
        case "grid":
            return GridProposals(space, budget, seed)
        case _:
            raise ValueError(f"`backend` must be 'gp', 'random', 'grid', 'smt' or 'optuna', got {backend!r}.")


class _Loop:
    """Proposals and their values."""

    def __init__(self, values_of: Any, proposals: Proposals, budget: int, progress: Any) -> None:
        self.values_of, self.proposals, self.budget, self.progress = values_of, proposals, budget, progress
        self.known: list[tuple[Configuration, float]] = []
        self.found: list[Evaluation] = []

    def add(self, configuration: "Configuration", value: float, **more: Any) -> None:
        self.known.append((configuration, value))
        self.found.append(Evaluation(configuration=plain(configuration), value=value, order=len(self.found), **more))
        if self.progress is not None:
            self.progress(self.found[-1])

    def first(self) -> list["Configuration"]:
        """The proposals that need no values."""
        chosen: list[Configuration] = []
        while len(chosen) < min(self.proposals.free, self.budget):
            one = self.proposals.next([], chosen)
            if one is None:
                break
            chosen.append(one)
        return chosen

    def in_batches(self, batch: int, methods: Sequence[tuple[Any, ...]]) -> None:
        chosen, waiting = self.first(), list(methods)
        while chosen:
            for configuration, value in zip(chosen, self.values_of(list(map(plain, chosen))), strict=True):
                self.add(configuration, value)
            places, chosen = min(batch, self.budget - len(self.found)), []
            for method in [*waiting[:1], *[None] * places][:places]:
                one = self.proposals.next(self.known, chosen, method)
                if one is None and method is not None:  # this one has been tried in full
                    one = self.proposals.next(self.known, chosen)
                if one is not None:
                    chosen.append(one)
            now = {branch(one) for one in chosen}
            waiting = [m for m in waiting if m not in now] + [m for m in waiting if m in now]

    def asynchronously(self, evaluators: Fleet, seed: int) -> None:
        """Who starts what after how many values is asynchronous SGD's schedule, with evaluations in place of gradients."""
        schedule = protocols.asynchronous(evaluators, self.budget, seed=seed)
        assert schedule.ledger is not None
        read = np.concatenate([schedule.read, schedule.ledger.pending_read])
        worker = np.concatenate([schedule.worker, schedule.ledger.pending_worker])
        first = self.first()
        ready = iter(zip(first, self.values_of(list(map(plain, first))), strict=True))
        started: dict[int, tuple[Configuration, float]] = {}  # by the row of the schedule that delivers it
        for seen in range(self.budget):
            starting = np.flatnonzero(read == seen)
            for row in starting[np.argsort(worker[starting])].tolist():
                one, value = next(ready, (None, np.nan))
                if one is None:
                    one = self.proposals.next(self.known, [c for other, (c, _) in started.items() if other >= seen])
                    if one is None:
                        continue
                    if row < self.budget:  # else it is not finished in time
                        value = self.values_of([plain(one)])[0]
                started[row] = one, value
            if seen in started:
                self.add(*started[seen], time=float(schedule.time[seen]), worker=int(schedule.worker[seen]))


def _checked(objective: Function, cap: float | None) -> Callable[[list[dict[str, Any]]], list[float]]:
    """The objective with its values capped; what is no number may not reach a Gaussian process."""

    def values_of(configurations: list[dict[str, Any]]) -> list[float]:
        found = objective(configurations)
        values = np.asarray(found, np.float64)
        if values.shape != (len(configurations),):
            raise ValueError(
                f"`objective` gets a list of configurations and must return one value for each, {len(configurations)} here, "
                f"got {found!r}."
            )
        wrong = ~np.isfinite(values)
        if cap is None and wrong.any():
            which = int(np.argmax(wrong))
            raise ValueError(
                f"`objective` returned {values[which]} for {configurations[which]}; give `cap`, what that is to count as."
            )
        return (values if cap is None else np.minimum(np.where(wrong, cap, values), cap)).tolist()

    return values_of


def _elsewhere(
    values_of: Any, space: Any, budget: int, seed: int, backend: str, initial: int | None, progress: Any
) -> Result:
    """The search of another library."""
    found: list[Evaluation] = []

    def value_of(configuration: "Configuration") -> float:
        values = plain(configuration)
        found.append(Evaluation(configuration=values, value=values_of([values])[0], order=len(found)))
        if progress is not None:
            progress(found[-1])
        return found[-1].value

    if backend == "smt":
        from jasgd.tune.smt import ego

        ego(value_of, space, budget=budget, initial=12 if initial is None else initial, seed=seed)
    else:
        from jasgd.tune.optuna import tpe

        tpe(value_of, space, budget=budget, seed=seed)
    return Result(evaluations=tuple(found), backend=backend, seed=seed)
