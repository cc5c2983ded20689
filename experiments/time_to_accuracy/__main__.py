"""How long until the squared gradient norm is epsilon: the formulas of theory against simulation.

``python -m experiments.time_to_accuracy`` computes, checks the claims, and draws the picture of this folder.
"""

import csv
import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import jasgd
from jasgd import methods, theory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Synchronous, m-Synchronous, asynchronous, Rennala and Ringmaster SGD where worker i needs i seconds.

    Attributes:
      dim: of the tridiagonal quadratic.
      accuracy: epsilon, relative to the squared gradient norm at the start.
      workers: numbers of workers, at the noise ratio ``ratio``.
      ratios: sigma^2 / epsilon, with ``count`` workers.
      ratio, count: what is kept while the other changes.
      seeds: the medians are over so many.
      out: folder of the picture and the results.
    """

    dim: int = 30
    accuracy: float = 0.01
    workers: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    ratios: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
    ratio: float = 64.0
    count: int = 256
    seeds: int = 3
    out: Path = Path("jasgd-results/time_to_accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One method in one setting: simulated seconds, and predicted ones in units of L Delta / epsilon."""

    method: str
    n: int
    ratio: float
    simulated: float
    predicted: float


# A method of so many updates on n workers at sigma^2 = ratio, epsilon = 1, in units of 1 / L.
Made = Callable[[jasgd.fleet.Fleet, int, float], methods.Method]
Predicted = Callable[[np.ndarray, float], float]


def _synchronous(fleet: jasgd.fleet.Fleet, updates: int, ratio: float) -> methods.Method:
    step = theory.rennala_step_size(1.0, 1.0, batch=fleet.num_workers, noise=math.sqrt(ratio))
    return methods.minibatch_sgd(fleet, updates, learning_rate=step)


def _m_synchronous(fleet: jasgd.fleet.Fleet, updates: int, ratio: float) -> methods.Method:
    step = theory.rennala_step_size(1.0, 1.0, batch=theory.best_m_synchronous(fleet.times, ratio), noise=math.sqrt(ratio))
    return methods.m_synchronous_sgd(fleet, updates, learning_rate=step, noise_ratio=ratio)


def _asynchronous(fleet: jasgd.fleet.Fleet, updates: int, ratio: float) -> methods.Method:
    step = theory.ringmaster_step_size(1.0, 1.0, threshold=fleet.num_workers, noise=math.sqrt(ratio))
    return methods.delay_adaptive_sgd(fleet, updates, learning_rate=step)


def _rennala(fleet: jasgd.fleet.Fleet, updates: int, ratio: float) -> methods.Method:
    return methods.rennala(fleet, updates, smoothness=1.0, accuracy=1.0, noise=math.sqrt(ratio))


def _ringmaster(fleet: jasgd.fleet.Fleet, updates: int, ratio: float) -> methods.Method:
    return methods.ringmaster(fleet, updates, smoothness=1.0, accuracy=1.0, noise=math.sqrt(ratio), stop=True)


CONTENDERS: dict[str, tuple[Made, Predicted]] = {
    "synchronous SGD": (_synchronous, theory.synchronous_time),
    "m-Synchronous SGD, best m": (_m_synchronous, theory.m_synchronous_time),
    "asynchronous SGD, delay-adaptive": (_asynchronous, theory.asynchronous_time),
    "Rennala SGD": (_rennala, theory.optimal_time),
    "Ringmaster ASGD": (_ringmaster, theory.optimal_time),
}


def simulated(make: Made, n: int, ratio: float, config: Config) -> float:
    """Median over the seeds of the time at which the squared gradient norm is epsilon for the first time."""
    base = jasgd.problems.quadratic(config.dim)
    epsilon = config.accuracy * float(base.metrics(base.init(jax.random.key(0)))["grad_norm"]) ** 2
    problem = jasgd.problems.quadratic(config.dim, noise=math.sqrt(ratio * epsilon / config.dim))
    fleet = jasgd.fleet.power_law(n, exponent=1.0)
    updates = 256
    while True:
        method = make(fleet, updates, ratio)
        found = [
            _first(method.simulate(problem, key=jax.random.key(seed), every=max(1, updates // 512)), epsilon)
            for seed in range(config.seeds)
        ]
        if max(found) < np.inf:
            return float(np.median(found))
        updates *= 4


def _first(run: jasgd.Run, epsilon: float) -> float:
    reached = np.flatnonzero(run.history["grad_norm"] ** 2 <= epsilon)
    return float(run.history["time"][reached[0]]) if len(reached) else np.inf


def row(name: str, n: int, ratio: float, config: Config) -> Row:
    """Simulate and predict."""
    make, predicted = CONTENDERS[name]
    seconds = simulated(make, n, ratio, config)
    print(f"{name}, n = {n}, sigma^2 / epsilon = {ratio:g}: {seconds:.4g} s", file=sys.stderr)
    times = np.arange(1.0, n + 1)
    return Row(method=name, n=n, ratio=ratio, simulated=seconds, predicted=predicted(times, ratio))


def table(config: Config) -> list[Row]:
    """One row per method and setting."""
    settings = dict.fromkeys([(n, config.ratio) for n in config.workers] + [(config.count, s) for s in config.ratios])
    return [row(name, n, ratio, config) for name in CONTENDERS for n, ratio in settings]


def fitted(rows: list[Row]) -> float:
    """The one constant that brings all predictions closest to the simulations, in the worst case."""
    log_ratio = [math.log(row.simulated / row.predicted) for row in rows]
    return math.exp((min(log_ratio) + max(log_ratio)) / 2)


def claims(rows: list[Row]) -> dict[str, bool]:
    """What the picture shows, as checks."""
    scale, most = fitted(rows), max(row.n for row in rows)
    at_most = {row.method: row.simulated for row in rows if row.n == most}
    optimal = max(at_most["Rennala SGD"], at_most["Ringmaster ASGD"])
    return {
        "with one constant for all, every prediction is right within a factor of 4": all(
            1 / 4 < row.simulated / (scale * row.predicted) < 4 for row in rows
        ),
        "with most workers, synchronous SGD needs at least 4 times as long as Rennala and Ringmaster": (
            at_most["synchronous SGD"] > 4 * optimal
        ),
        "and asynchronous SGD twice as long": at_most["asynchronous SGD, delay-adaptive"] > 2 * optimal,
    }


def draw(rows: list[Row], config: Config) -> None:
    """Lines are predictions, markers simulations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    scale = fitted(rows)
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained", sharey=True)
    kept = {"n": rf"$\sigma^2 / \epsilon$ = {config.ratio:g}", "ratio": f"n = {config.count}"}
    for axes, x in zip(panels, kept, strict=True):
        for i, (marker, name) in enumerate(zip("osv^D", CONTENDERS, strict=True)):
            mine = [r for r in rows if r.method == name and (r.ratio == config.ratio if x == "n" else r.n == config.count)]
            mine.sort(key=lambda r: getattr(r, x))
            at = [getattr(r, x) for r in mine]
            axes.loglog(at, [scale * r.predicted for r in mine], color=f"C{i}", lw=1, alpha=0.8)
            axes.loglog(at, [r.simulated for r in mine], marker, color=f"C{i}", ms=5, mfc="none", label=name)
        axes.set_title(f"{kept[x]}, worker i needs i s per gradient")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(xlabel="workers n", ylabel=r"time until $\|\nabla f\|^2 \leq \epsilon$ [simulated s]")
    panels[1].set_xlabel(r"noise ratio $\sigma^2 / \epsilon$")
    panels[0].legend(frameon=False, fontsize=8)
    figure.supxlabel(
        f"Markers: simulation, median of {config.seeds} seeds. Lines: time complexities, all times one fitted constant.\n"
        "Slow workers cost synchronous and asynchronous SGD time, but not Rennala (Tyurin, Richtárik 2023) and Ringmaster\n"
        "(Maranjyan et al. 2025), whose common line is the optimal time. Instance and asynchronous SGD's steps are ours.",
        fontsize=8,
        color="#444444",
    )
    figure.savefig(config.out / "time_to_accuracy.png", dpi=110)


def main(config: Config) -> None:
    """Compute, check, draw."""
    config.out.mkdir(parents=True, exist_ok=True)
    rows = table(config)
    with (config.out / "time_to_accuracy.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(dataclasses.asdict, rows))
    draw(rows, config)
    checked = claims(rows)
    for claim, holds in checked.items():
        print(f"{'holds' if holds else 'FAILS'}: {claim}")
    print(f"picture: {config.out / 'time_to_accuracy.png'}")
    if not all(checked.values()):
        sys.exit(1)


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    main(tyro.cli(Config))
