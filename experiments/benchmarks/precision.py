"""What shorter snapshots change: where runs end with ``snapshot_dtype``, against single precision and the spread of seeds.

The digits MLP and noisy quadratics under asynchronous SGD. Short numbers have the same digits everywhere, so near an optimum
at 0 they are fine; the worst case is a plateau narrower than a rounding of the optimum, as around 1 here.

Runs of one seed see the same samples, so their ends are compared one by one; all are measured in single precision, at
``run.params``, which is not rounded, and as recorded, at the last snapshot, which is. Beside them, what one would do without
the option: parameters that are short themselves.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.benchmarks.report import about

_BFLOAT16, _FLOAT16 = jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure what shorter snapshots change.

    Attributes:
      workers: their speeds are as the square root of their number.
      updates: of each run.
      seeds: runs of each kind.
      out: also write a JSON file.
    """

    workers: int = 100
    updates: int = 5000
    seeds: int = 10
    out: Path | None = None


class _Perceptron(nn.Module):
    """64 hidden units; computes in ``dtype``, or in the wider one of inputs and parameters."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(64, dtype=self.dtype)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10, dtype=self.dtype)(x).astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """How runs are rounded."""

    name: str
    snapshots: Any = None
    params: Any = None
    arithmetic: Any = None


KINDS = (
    Kind(name="float32"),
    Kind(name="bfloat16 snapshots", snapshots=_BFLOAT16),
    Kind(name="bfloat16 snapshots and arithmetic", snapshots=_BFLOAT16, arithmetic=_BFLOAT16),
    Kind(name="float16 snapshots", snapshots=_FLOAT16),
    Kind(name="bfloat16 parameters", params=_BFLOAT16),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A problem, a quadratic if it has an optimum, and a step size at which runs end well below where they began."""

    name: str
    metrics: tuple[str, ...]
    learning_rate: float
    optimum: float | None = None

    def problem(self, workers: int, arithmetic: Any = None) -> jasgd.Problem:
        """Objective and data; a quadratic computes in the dtype of its parameters."""
        if self.optimum is not None:
            return _moved(jasgd.problems.quadratic(100, noise=0.01, spectrum=np.linspace(0.2, 1, 100)), self.optimum)
        return jasgd.problems.classification(_Perceptron(arithmetic), workers)


def _moved(problem: jasgd.Problem, by: float) -> jasgd.Problem:
    """The problem with its optimum elsewhere."""
    return dataclasses.replace(
        problem,
        init=lambda key: problem.init(key) + by,
        gradient=lambda x, batch: problem.gradient(x - by, batch),
        metrics=lambda x: problem.metrics(x - by),
    )


CASES = (
    Case(name="digits MLP", metrics=("loss", "accuracy"), learning_rate=0.01),
    Case(name="quadratic around 0", metrics=("gap",), learning_rate=0.005, optimum=0.0),
    Case(name="quadratic around 1", metrics=("gap",), learning_rate=0.005, optimum=1.0),
)


def ends(case: Case, kind: Kind, options: Options) -> dict[str, list[float]]:
    """Metrics of every seed at the end, and as recorded there."""
    problem, exact = case.problem(options.workers, kind.arithmetic), case.problem(options.workers)
    measure = jax.jit(exact.metrics)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(options.workers, exponent=0.5), options.updates)
    found: dict[str, list[float]] = {f"{name}{where}": [] for name in case.metrics for where in ("", ", recorded")}
    for seed in range(options.seeds):
        key = jax.random.key(seed)
        params = problem.init(jasgd.split_key(key)[0])
        if kind.params is not None:
            params = jax.tree.map(lambda leaf: leaf.astype(kind.params), params)
        run = jasgd.simulate(
            problem, optax.sgd(case.learning_rate), schedule, key=key, params=params, snapshot_dtype=kind.snapshots
        )
        at_end = measure(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), run.params))
        for name in case.metrics:
            found[name].append(float(at_end[name]))
            found[f"{name}, recorded"].append(float(run.history[name][-1]))
    return found


def compared(mine: list[float], single: list[float]) -> dict[str, Any]:
    """The mean over the seeds, how far runs of the same seed are from single precision, and how far seeds are apart."""
    difference, spread = np.subtract(mine, single), float(np.std(single, ddof=1))
    return {
        "mean": float(np.mean(mine)),
        "mean_difference": float(np.mean(difference)),
        "largest_difference": float(np.abs(difference).max()),
        "spread_of_seeds": spread,
        "mean_difference_in_spreads": float(np.mean(difference)) / spread,
        "seeds": mine,
    }


def main(options: Options) -> None:
    """Measure, print the table, write the file."""
    results: dict[str, Any] = {}
    print("| problem | kind | metric | mean | difference | largest | spread of seeds |\n|" + " --- |" * 7)
    for case in CASES:
        kinds = [kind for kind in KINDS if case.optimum is None or kind.arithmetic is None]
        found = {kind.name: ends(case, kind, options) for kind in kinds}
        results[case.name] = {}
        for name, metrics in found.items():
            mine = {metric: compared(values, found["float32"][metric]) for metric, values in metrics.items()}
            results[case.name][name] = mine
            for metric, one in mine.items():
                numbers = ("mean", "mean_difference", "largest_difference", "spread_of_seeds")
                print(f"| {case.name} | {name} | {metric} | " + " | ".join(f"{one[n]:.3g}" for n in numbers) + " |")
    settings = about(repeats=options.seeds, quick=False)
    print("\n" + "; ".join(f"{name} {value}" for name, value in settings.items()))
    if options.out is not None:
        sizes = {"workers": options.workers, "updates": options.updates, "seeds": options.seeds}
        rates = {case.name: case.learning_rate for case in CASES}
        document = {"about": settings, **sizes, "learning_rates": rates, "results": results}
        options.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    main(tyro.cli(Options))
