"""Target risk against the number of samples, for five targets."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.covariate2025.settings import (
    COLOURS,
    DIM,
    Instance,
    accelerated,
    decaying,
    power,
    preconditioned,
    problem,
    sgd,
    vital,
)
from experiments.pictures import picture
from jasgd import theory
from jasgd.results import band, final

if TYPE_CHECKING:
    import xarray

INSTANCES = {
    "T = S": decaying(power(2.0)),
    "T = S^(1/2)": decaying(power(1.0)),
    "T = S^2": decaying(power(4.0)),
    "T = I/d": decaying(np.full(DIM, 1 / DIM)),
    "one vital direction": vital(),
    "T = S^(1/2), low noise": decaying(power(1.0), noise=0.005),
}
METHODS = ("SGD", "accelerated", "preconditioned")
CAPTION = """d = 40, eigenvalues of S i^-2, ellipse sqrt(i), noise 0.5 (low: 0.005); one vital direction: S = 0.05 I,
t = 1, m = 1 there, t = 0.5, m = 100 elsewhere. Lines: worst case over the ellipse, fixed design. Markers: fresh
samples at the least favourable truth, best of the steps tried, mean and quartiles over seeds. The instances are ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One pass over n samples without delay.

    Attributes:
      samples: n.
      instances: of ``INSTANCES``.
      steps: delta, of SGD and of accelerated SGD.
      pairs: beta and gamma / delta of accelerated SGD.
      seeds: of samples.
    """

    samples: tuple[int, ...] = tuple(2**k for k in range(6, 15))
    instances: tuple[str, ...] = tuple(INSTANCES)
    steps: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03)
    pairs: tuple[tuple[float, float], ...] = ((0.3, 2.0), (0.1, 4.0), (0.03, 10.0))
    seeds: int = 16

    def quick(self) -> "Config":
        """Few samples, two instances, one step."""
        instances = ("T = I/d", "one vital direction")
        return dataclasses.replace(self, samples=(64, 256), instances=instances, steps=(0.3,), pairs=((0.1, 4.0),), seeds=4)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Measured risks of every method with its best step, and what theory says."""
    import xarray

    def rule(
        instance: str, samples: int, step: float, beta: float | None = None, ratio: float = 1.0
    ) -> optax.GradientTransformation:
        if beta is None:
            return sgd(step, samples) if step else preconditioned(INSTANCES[instance], samples)
        return accelerated(step, beta, ratio, samples)

    cases = [{"instance": name, "samples": n} for name in config.instances for n in config.samples]
    tried = {
        "SGD": [{"step": step} for step in config.steps],
        "accelerated": [{"step": s, "beta": b, "ratio": r} for s in config.steps for b, r in config.pairs],
        "preconditioned": [{"step": 0.0}],
    }
    parts, risks = [], []
    for method, settings in tried.items():
        part = jasgd.sweep(
            lambda instance, samples: problem(INSTANCES[instance], samples),
            rule,
            lambda samples: jasgd.protocols.delays(1, samples, 0),
            grid=[case | one for one in settings for case in cases],
            seeds=config.seeds,
            key=jax.random.key(0),
            resume=folder / method,
            progress=method,
        )
        last = final(part, "target_risk").fillna(np.inf).values
        by_case = last.reshape(len(settings), len(config.instances), len(config.samples), config.seeds)
        best = by_case.mean(axis=-1).argmin(axis=0)
        risks.append(np.take_along_axis(by_case, best[None, ..., None], axis=0)[0])
        parts.append(part)
    lines = np.array([[_theory(INSTANCES[name], n) for n in config.samples] for name in config.instances])
    dims = ("instance", "samples")
    return xarray.Dataset(
        {
            "risk": (("algorithm", *dims, "seed"), np.stack(risks)),
            "theory": ((*dims, "line"), lines),
        },
        {
            "algorithm": list(METHODS),
            "instance": list(config.instances),
            "samples": list(config.samples),
            "line": ["optimum", "lower bound", "ridge", "streaming", "gap"],
        },
        attributes(parts),
    )


def _theory(instance: Instance, samples: int) -> tuple[float, ...]:
    best = theory.shift_optimum(*instance, samples)
    ridge = theory.shift_comparators(*instance, samples)["ridge"]
    return best.risk, theory.shift_lower_bound(*instance, samples), ridge, streaming_risk(instance, samples), best.gap


def streaming_risk(instance: Instance, samples: int) -> float:
    """Of the preconditioned pass at the least favourable truth, with label noise alone: same mean, more variance."""
    best = theory.shift_optimum(*instance, samples)
    left = 1 - best.transform
    c = instance.source * theory.shift_preconditioner(instance.source, best.transform, samples)
    seen = c > 0
    variance = np.zeros(DIM)  # of w: step c / s, noise s sigma^2, geometric series
    variance[seen] = (c**2 / instance.source * instance.noise**2 * (1 - left**2))[seen] / (1 - (1 - c[seen]) ** 2)
    square = best.prior / np.sum(instance.ellipse * best.prior)
    return float(np.sum(instance.target * (left**2 * square + variance)))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel per instance."""
    with picture(path, CAPTION, rows=2, columns=3, size=(12.5, 7.4)) as panels:
        for axes, name in zip(panels.flat, found["instance"].values, strict=False):
            one = found.sel(instance=name)
            for line, style in (("optimum", "-"), ("lower bound", ":"), ("ridge", "--")):
                axes.plot(one["samples"], one["theory"].sel(line=line), style, color=COLOURS[line], lw=1.3, label=line)
            streaming = one["theory"].sel(line="streaming")
            axes.plot(
                one["samples"], streaming, ":", color=COLOURS["preconditioned"], lw=1.3, label="preconditioned, derived"
            )
            for method in found["algorithm"].values:
                colour, risk = COLOURS[str(method)], one["risk"].sel(algorithm=method)
                axes.plot(one["samples"], risk.mean("seed"), "-o", color=colour, lw=1.0, ms=3.5, label=str(method))
                shown = band(risk)
                axes.fill_between(one["samples"], shown["low"], shown["high"], color=colour, alpha=0.2, lw=0)
            axes.set(xscale="log", yscale="log", xlabel="samples n", ylabel="target excess risk")
            axes.set_title(str(name), fontsize=10)
        for axes in panels.flat[1:]:  # the legend of the first panel serves all
            axes.set_visible(len(axes.lines) > 0)
            for line in axes.lines:
                line.set_label("_")
