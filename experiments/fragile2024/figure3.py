"""Logistic regression over the mesh, for fast and slow edges (the paper's figures 8 and 9)."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.data import dataset
from experiments.fragile2024.settings import CLOCK, MINIBATCH, SIDE, compare, concatenated, draw_panel, last
from experiments.pictures import BLUE, RED, picture

if TYPE_CHECKING:
    import xarray

CAPTION = f"""{{data}} instead of MNIST unless asked for, a sixth held out for testing; {{dim}} parameters from 0, batches
of {{size}} (128 in proportion), every worker with all examples; steps of the smallest last loss. Horizons, steps, data
ours; medians of {{seeds}} seeds, quartiles. {CLOCK} Claimed: at 10 s per hop Fragile is clearly faster and more accurate,
best S 100 to 160."""
OTHERS = (20, 120, 300)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The paper's network; its horizons are not known to us.

    Attributes:
      data: the bundled digits, or another data set in
      data_dir: this folder.
      side: of the mesh.
      edges: seconds per hop.
      batches: S.
      steps: as powers of two.
      seconds: horizon for every edge time.
      records: times at which the loss is taken.
      seeds: of the examples.
    """

    data: str = "digits"
    data_dir: str = ""
    side: int = SIDE
    edges: tuple[float, ...] = (0.1, 10.0)
    batches: tuple[int, ...] = (10, 20, 40, 80, 120, 160, 300)
    steps: tuple[int, ...] = (-1, 0, 1, 2, 3, 4, 5)
    seconds: tuple[float, ...] = (300.0, 6000.0)
    records: int = 100
    seeds: int = 3

    def quick(self) -> "Config":
        """Few steps and S, short."""
        return dataclasses.replace(self, batches=(20, 120), steps=(-2, 0), seconds=(40.0, 1000.0), records=10, seeds=2)


def size(examples: int) -> int:
    """Examples per gradient: the 128 of MNIST's 60 000, in proportion, so that the noise is about as large."""
    return max(1, round(128 * examples / 60_000))


def problem(config: Config) -> jasgd.Problem:
    """Softmax of Wx, where the bias of a linear layer is what a column of ones is; all workers draw from all examples."""
    inputs, labels = dataset(config.data, config.data_dir)
    flat, cut = inputs.reshape(len(inputs), -1), len(inputs) - len(inputs) // 6
    linear = nn.Dense(int(labels.max()) + 1, kernel_init=nn.initializers.zeros)
    training = jasgd.problems.Dataset(flat[:cut], labels[:cut])
    whole = jasgd.problems.classification(linear, 1, data=training, batch=size(len(inputs)))
    unseen, truth = jnp.asarray(flat[cut:]), jnp.asarray(labels[cut:])

    def metrics(params: optax.Params) -> dict[str, jax.Array]:
        hits = jnp.argmax(linear.apply(params, unseen), axis=-1) == truth
        return {**whole.metrics(params), "test_accuracy": jnp.mean(hits, dtype=jnp.float32)}

    def sample(key: jax.Array, worker: jax.Array) -> tuple[jax.Array, jax.Array]:
        return whole.sample(key, 0 * worker)

    return dataclasses.replace(whole, sample=sample, metrics=metrics, num_workers=None)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Losses and accuracies at every edge time, of every S and minibatch SGD at its best step."""
    rates = [2.0**power for power in config.steps]
    made = problem(config)
    parts = [
        compare(
            made,
            edge,
            side=config.side,
            batches=config.batches,
            rates=rates,
            seconds=seconds,
            records=config.records,
            seeds=config.seeds,
            folder=folder,
            metrics=["loss", "test_accuracy"],
            runs_at_once=len(rates),
        )
        for edge, seconds in zip(config.edges, config.seconds, strict=True)
    ]
    dim = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(jax.eval_shape(made.init, jax.random.key(0))))
    return concatenated(parts, config.edges, rates).assign_attrs(
        data=config.data, dim=dim, size=size(len(dataset(config.data, config.data_dir).labels))
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Loss and test accuracy against seconds for every edge time; both against S."""
    facts = found.attrs | {"data": found.attrs["data"].replace("digits", "The bundled digits"), "seeds": found.sizes["seed"]}
    with picture(path, CAPTION.format(**facts), rows=2, columns=3, size=(14, 8)) as panels:
        for column, edge in enumerate(found["edge"].values):
            one = found.sel(edge=edge)
            draw_panel(panels[0, column], one, "loss", "loss", OTHERS)
            draw_panel(panels[1, column], one, "test_accuracy", "loss", OTHERS)
            panels[0, column].set(yscale="log", ylabel="f(x), training loss", title=f"{edge:g} s per hop")
            floor = 0.9 * float(last(one, "test_accuracy").min())
            panels[1, column].set(ylabel="test accuracy", ylim=(floor, 1), title=f"{edge:g} s per hop")
        for row, metric in enumerate(("loss", "test_accuracy")):
            axes = panels[row, 2]
            for edge, colour in zip(found["edge"].values, (BLUE, RED), strict=True):
                ends = last(found.sel(edge=edge), metric)
                sizes = ends.drop_sel(option=MINIBATCH)
                axes.plot(sizes["option"], sizes, "o-", color=colour, label=f"Fragile, {edge:g} s per hop")
                axes.axhline(
                    float(ends.sel(option=MINIBATCH)), color=colour, ls=":", lw=1, label=f"minibatch, {edge:g} s per hop"
                )
            axes.set(xscale="log", xlabel="S", ylabel="last " + metric.replace("_", " "), title="in the end")
        panels[0, 2].set_yscale("log")
