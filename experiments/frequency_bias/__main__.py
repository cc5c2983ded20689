"""Fast workers pull asynchronous SGD towards their own data; four methods that correct it.

``python -m experiments.frequency_bias`` computes, checks the claims, and draws the picture of this folder.
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jasgd
from jasgd import methods

CURVATURE, CENTRE = np.array([1.0, 2.0]), np.array([1.0, -1.5])  # F_i(x) = a_i (x - b_i)^2 / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Vanilla, Rescaled and DuDe ASGD, Malenia and Ringleader on workers with different speeds and different data.

    Attributes:
      times: seconds per gradient of the two workers of the example.
      rate: step per second of all methods on it: dx/dt = - rate * gradient of the average.
      horizon: simulated seconds.
      digits_rate, digits_horizon: the same on the digits, sorted by label over ten workers; worker i needs i seconds.
      l2: weight of the penalty on the digits.
      seed: of everything.
      out: folder of the picture and the results.
    """

    times: tuple[float, float] = (0.1, 0.8)
    rate: float = 0.01367
    horizon: float = 600.0
    digits_rate: float = 0.02
    digits_horizon: float = 20_000.0
    l2: float = 1e-2
    seed: int = 0
    out: Path = Path("jasgd-results/frequency_bias")


def two_workers() -> jasgd.Problem:
    """One number, two workers, no noise."""
    a, b = jnp.asarray(CURVATURE, jnp.float32), jnp.asarray(CENTRE, jnp.float32)
    return jasgd.Problem(
        init=lambda _: jnp.float32(5.0),
        loss=lambda x, worker: 0.5 * a[worker] * (x - b[worker]) ** 2,
        sample=lambda _, worker: worker,
        metrics=lambda x: {
            "loss": jnp.mean(0.5 * a * (x - b) ** 2),
            "grad_norm": jnp.abs(jnp.mean(a * (x - b))),
            "x": x,
        },
        num_workers=2,
        name="two workers",
    )


def contenders(fleet: jasgd.fleet.Fleet, rate: float, horizon: float, seed: int) -> dict[str, methods.Method]:
    """All methods with the same step per second, so that only where they go differs."""
    n, per_second = fleet.num_workers, float(np.sum(1 / fleet.times))
    slowest = float(fleet.times.max())
    arrivals, rounds = int(horizon * per_second) + 1, int(horizon / slowest) + 1
    steps = n * rounds  # Ringleader makes n per round, which lasts one to two times the slowest: never more than this
    taken = jasgd.protocols.ringleader(fleet, steps, seed=seed).until(horizon).updates / horizon
    made = {
        "vanilla": methods.asynchronous_sgd(fleet, arrivals, learning_rate=rate / per_second, seed=seed),
        "Rescaled": methods.rescaled_sgd(fleet, arrivals, learning_rate=rate / per_second, seed=seed),
        "DuDe": methods.dude(fleet, arrivals, learning_rate=rate / per_second, seed=seed),
        "Malenia": methods.malenia(fleet, rounds, learning_rate=rate * slowest, seed=seed),
        "Ringleader": methods.ringleader(fleet, steps, learning_rate=rate / taken, seed=seed),
    }
    return {name: dataclasses.replace(method, schedule=method.schedule.until(horizon)) for name, method in made.items()}


def curves(
    problem: jasgd.Problem, made: dict[str, methods.Method], config: Config, file: str
) -> dict[str, dict[str, np.ndarray]]:
    """The history of every method at 100 times; stored with its provenance."""
    found = {}
    for name, method in made.items():
        end = float(method.schedule.time[-1])
        run = method.simulate(problem, key=jax.random.key(config.seed), times=np.linspace(0, end, 101)[1:], progress=name)
        found[name] = run.history
        dataset = run.to_dataset().assign_attrs({f"config_{k}": str(v) for k, v in dataclasses.asdict(config).items()})
        jasgd.results.save_dataset(dataset, config.out / f"{file}_{name.lower()}.nc")
    return found


def claims(toy: dict[str, dict[str, np.ndarray]], digits: dict[str, dict[str, np.ndarray]]) -> dict[str, bool]:
    """What the picture shows, as checks."""
    uniform = float(np.sum(CURVATURE * CENTRE) / np.sum(CURVATURE))
    balanced = [name for name in toy if name != "vanilla"]
    late = {name: float(np.mean(history["x"][-20:])) for name, history in toy.items()}
    return {
        "vanilla ends at the frequency-weighted minimiser 1/2": abs(late["vanilla"] - 0.5) < 0.05,
        "the others end at the uniform minimiser -2/3": all(abs(late[name] - uniform) < 0.05 for name in balanced),
        "on the digits vanilla ends with the largest gradient of the uniform objective": all(
            np.mean(digits["vanilla"]["grad_norm"][-20:]) > 3 * np.mean(digits[name]["grad_norm"][-20:]) for name in balanced
        ),
    }


def main(config: Config) -> None:
    """Compute, check, draw."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    config.out.mkdir(parents=True, exist_ok=True)
    pair = jasgd.fleet.fixed(config.times)
    toy = curves(two_workers(), contenders(pair, config.rate, config.horizon, config.seed), config, "toy")
    shards = jasgd.problems.partition.by_label(jasgd.problems.digits()[1], 10)
    problem = jasgd.problems.logistic_regression(shards, l2=config.l2)
    fleet = jasgd.fleet.power_law(10, exponent=1.0)
    digits = curves(problem, contenders(fleet, config.digits_rate, config.digits_horizon, config.seed), config, "digits")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    styles = dict(zip(toy, ("-", "-", "--", "-.", ":"), strict=True))
    for name, history in toy.items():
        left.plot(history["time"], history["x"], styles[name], label=name)
    for level, text in ((0.5, "minimiser weighted by frequency"), (-2 / 3, "minimiser of the average")):
        left.axhline(level, color="0.6", lw=0.8)
        left.annotate(text, (config.horizon, level), xytext=(0, -12), textcoords="offset points", ha="right", color="0.4")
    left.set(
        xlabel="simulated time [s]",
        ylabel="x",
        ylim=(-1.3, 5.3),
        title="two workers, 0.1 s and 0.8 s per gradient, no noise",
    )
    left.legend(frameon=False)
    for name, history in digits.items():
        right.semilogy(history["time"], history["grad_norm"], styles[name], label=name)
    right.set(
        xlabel="simulated time [s]",
        ylabel="norm of the gradient of the average loss",
        title="digits sorted by label, 10 workers, worker i needs i s",
    )
    right.legend(frameon=False, ncols=3)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        "Plain asynchronous SGD goes where fast workers pull it. Steps in proportion to the computation time\n"
        "(Mahran et al. 2026), or a gradient of every worker in every step (DuDe, Malenia, Ringleader),\n"
        "lead to the minimiser of the average. Instances and steps are ours: the same step per second for all methods.",
        fontsize=8,
        color="#444444",
    )
    figure.savefig(config.out / "frequency_bias.png", dpi=110)
    checked = claims(toy, digits)
    for claim, holds in checked.items():
        print(f"{'holds' if holds else 'FAILS'}: {claim}")
    print(f"picture: {config.out / 'frequency_bias.png'}")
    if not all(checked.values()):
        sys.exit(1)


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    main(tyro.cli(Config))
