"""Logistic regression at high, medium and low communication speed."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import flax.linen as nn
import numpy as np

import jasgd
from experiments.data import dataset
from experiments.pictures import picture
from experiments.shadowheart2024.quadratics import draw_panel
from experiments.shadowheart2024.settings import DROPS, SPEEDS, compare, contestants

if TYPE_CHECKING:
    import xarray

CAPTION = f"""{{data}} instead of MNIST unless asked for, {{dim}} parameters from 0, every worker with all examples,
batch 128, no regulariser; n = {{workers}}, sqrt(i) s per gradient, sqrt(i) d^(-1, -3/4, -1/2) s per number. n, K,
grids, horizon are ours. {DROPS} Claimed (caption of the poster): all are close at high speed, Shadowheart SGD is
robust. Medians, quartiles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """As in the authors' code, what is not known about it ours.

    Attributes:
      data: the bundled digits, or another data set in
      data_dir: this folder.
      workers: n.
      batch: examples per gradient.
      seconds, records: horizon, and times at which the loss is taken.
      steps, small: as powers of two; the small ones not by Shadowheart SGD.
      ratios: s of Shadowheart SGD; one number per message.
      sent: K of QSGD.
      speeds: of communication.
      seeds: of the examples and of what is sent.
    """

    data: str = "digits"
    data_dir: str = ""
    workers: int = 100
    batch: int = 128
    seconds: float = 500.0
    records: int = 50
    steps: tuple[int, ...] = (-1, 0, 1, 2, 3, 4, 5, 6)
    small: tuple[int, ...] = (-5, -4, -3, -2)
    ratios: tuple[float, ...] = (0.1, 1, 10)
    sent: tuple[int, ...] = (1, 100)
    speeds: tuple[str, ...] = ("high", "medium", "low")
    seeds: int = 3

    def quick(self) -> "Config":
        """Two speeds and steps, few workers and seconds."""
        return dataclasses.replace(
            self,
            workers=12,
            seconds=100.0,
            records=10,
            steps=(-1, 1),
            ratios=(1,),
            sent=(1,),
            speeds=("high", "low"),
            seeds=2,
        )


def problem(config: Config) -> jasgd.Problem:
    """Softmax of Wx, where the bias of a linear layer is what a column of ones is; all workers draw from all examples."""
    inputs, labels = dataset(config.data, config.data_dir)
    flat = jasgd.problems.Dataset(inputs.reshape(len(inputs), -1), labels)
    linear = nn.Dense(int(labels.max()) + 1, kernel_init=nn.initializers.zeros)
    whole = jasgd.problems.classification(linear, 1, data=flat, batch=config.batch)
    return dataclasses.replace(whole, sample=lambda key, worker: whole.sample(key, 0 * worker), num_workers=None)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Losses of every speed."""
    images, labels = dataset(config.data, config.data_dir)
    dim = (int(np.prod(images.shape[1:])) + 1) * (int(labels.max()) + 1)
    i = np.arange(1, config.workers + 1)
    rates, small = ([2.0**power for power in powers] for powers in (config.steps, config.small))
    tried = {"ratios": config.ratios, "rates": rates, "small": small, "sent": config.sent}
    settings = {speed: contestants(np.sqrt(i), np.sqrt(i) * dim ** SPEEDS[speed], dim, **tried) for speed in config.speeds}
    times = {"seconds": config.seconds, "records": config.records}
    found = compare(problem(config), settings, **times, seeds=config.seeds, folder=folder, metric="loss")
    facts = {"data": config.data, "dim": dim, "workers": config.workers}
    return found.assign_attrs(facts | {"steps": str(config.steps), "small": str(config.small)})


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel for every speed."""
    speeds = found["setting"].values
    facts = found.attrs | {"data": found.attrs["data"].replace("digits", "The bundled digits")}
    with picture(path, CAPTION.format(**facts), columns=len(speeds), size=(14, 4.9), sharey=True) as axes:
        for panel, speed in zip(axes, speeds, strict=True):
            draw_panel(panel, found.sel(setting=speed), f"{speed} speed", metric="loss")
            panel.set_xlabel("simulated time [s]")
        axes[0].set_ylabel("f(x), training loss")
