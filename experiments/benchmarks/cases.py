"""What is measured: a problem, a fleet, a rule and a number of deliveries."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import numpy as np
import optax

import jasgd
from experiments.benchmarks.models import ResNet20, Transformer, patterns

Speeds = Literal["equal", "sqrt", "linear"]
EXPONENTS: dict[Speeds, float] = {"equal": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic:
    """The tridiagonal quadratic, or a dense one with eigenvalues from 0.01 to 1."""

    dim: int
    noise: float = 0.01
    noise_kind: Literal["iid", "scalar"] = "iid"
    dense: bool = False

    def build(self, workers: int) -> jasgd.Problem:
        """The problem; every worker sees the same."""
        del workers
        spectrum = np.linspace(0.01, 1.0, self.dim) if self.dense else None
        return jasgd.problems.quadratic(self.dim, self.noise, noise_kind=self.noise_kind, spectrum=spectrum)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits:
    """The digits, classified by a perceptron; without hidden layers it is logistic regression."""

    hidden: tuple[int, ...] = ()
    batch: int = 32

    def build(self, workers: int) -> jasgd.Problem:
        """The problem with one shard per worker."""
        if not self.hidden:
            return jasgd.problems.logistic_regression(workers, batch=self.batch)
        return jasgd.problems.mlp(workers, hidden=self.hidden, batch=self.batch)


class _ConvolutionalNet(nn.Module):
    channels: tuple[int, int]

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        first, second = self.channels
        x = nn.relu(nn.Conv(first, (5, 5), strides=2, padding="VALID")(images))
        x = nn.relu(nn.Conv(second, (3, 3), strides=2, padding="VALID")(x))
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """Ten noisy patterns of 28 x 28 pixels, classified by two convolutions and a dense layer."""

    channels: tuple[int, int] = (8, 16)
    batch: int = 16
    examples: int = 2048

    def data(self) -> jasgd.problems.Dataset:
        """Images (M, 28, 28, 1) and labels (M,)."""
        return patterns(self.examples, (28, 28, 1))

    def build(self, workers: int) -> jasgd.Problem:
        """The problem with one shard per worker."""
        model = _ConvolutionalNet(self.channels)
        return jasgd.problems.classification(model, workers, data=self.data(), batch=self.batch)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table.

    Attributes:
      name: what ``--only`` asks for.
      model: the problem.
      workers, deliveries: n and K.
      speeds: worker ``i`` needs 1, sqrt(i) or i seconds.
      rule, learning_rate: of the server.
      largest_delay: instead of speeds: in every server step every worker delivers, with a delay uniform up to this.
      widest: most gradients that the bare loops compute at a time.
    """

    name: str
    model: Quadratic | Digits | Images | ResNet20 | Transformer
    workers: int
    deliveries: int
    speeds: Speeds = "sqrt"
    rule: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 1e-2
    largest_delay: int | None = None
    widest: int = 2048

    def problem(self) -> jasgd.Problem:
        """Objective and data."""
        return self.model.build(self.workers)

    def fleet(self) -> jasgd.fleet.Fleet:
        """The workers and their speeds."""
        return jasgd.fleet.power_law(self.workers, EXPONENTS[self.speeds])

    def schedule(self) -> jasgd.Schedule:
        """Who delivers what when."""
        if self.largest_delay is None:
            return jasgd.protocols.asynchronous(self.fleet(), self.deliveries)
        drawn = jasgd.protocols.uniform_delays(self.largest_delay)
        updates = max(1, self.deliveries // self.workers)
        return jasgd.protocols.delays(self.workers, updates, drawn, every_worker=True)

    def optimizer(self) -> optax.GradientTransformation:
        """The server's rule."""
        return {"sgd": optax.sgd, "adam": optax.adam}[self.rule](self.learning_rate)

    def quick(self) -> "Case":
        """The same with few deliveries, to see whether everything works."""
        small = isinstance(self.model, Quadratic | Digits)
        return dataclasses.replace(self, deliveries=min(self.deliveries, 500 if small else 64))


def _quadratic(name: str, model: Quadratic, deliveries: int) -> Case:
    # A small step: with a thousand workers delays are near a thousand, and a diverging run would compute with infinities.
    return Case(name=name, model=model, workers=1000, deliveries=deliveries, learning_rate=1e-4)


_LOGISTIC, _PERCEPTRON = Digits(), Digits(hidden=(64,))

CASES = (
    *(Case(name=f"mlp-{s}", model=_PERCEPTRON, workers=100, deliveries=50_000, speeds=s) for s in EXPONENTS),
    *(Case(name=f"logistic-{s}", model=_LOGISTIC, workers=100, deliveries=100_000, speeds=s) for s in EXPONENTS),
    _quadratic("dense", Quadratic(dim=1000, dense=True), 20_000),
    _quadratic("tridiagonal", Quadratic(dim=1729), 100_000),
    _quadratic("tridiagonal-scalar", Quadratic(dim=1729, noise_kind="scalar"), 500_000),
    _quadratic("tridiagonal-exact", Quadratic(dim=1729, noise=0.0), 500_000),
    Case(name="cnn", model=Images(), workers=32, deliveries=1000),
    Case(name="delays", model=_LOGISTIC, workers=100, deliveries=100_000, largest_delay=63),
    Case(name="adam", model=_LOGISTIC, workers=100, deliveries=100_000, rule="adam", learning_rate=1e-3),
)

# Minutes of gradients on a CPU, where they only run if they are named.
MODELS = (
    Case(name="resnet20", model=ResNet20(), workers=64, deliveries=2000, widest=64),
    Case(name="transformer", model=Transformer(), workers=64, deliveries=4000, widest=64),
)


def chosen(names: Sequence[str], *, accelerated: bool) -> list[Case]:
    """The cases of these names; without names the table's, and on an accelerator the large models, too."""
    known = {case.name: case for case in (*CASES, *MODELS)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise ValueError(f"there is no case {name!r}; {hint}")
    if names:
        return [case for case in known.values() if case.name in names]
    return [*CASES, *(MODELS if accelerated else ())]
