"""Seconds: DASGD against synchronous all-reduce and a parameter server, all with their best steps."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optax

import jasgd
from experiments.contest import Contestant, attributes
from experiments.contest import contest as contest_with_server
from experiments.dasgd2023.contests import contest, gradients_in
from experiments.dasgd2023.settings import KEY
from experiments.pictures import BLUE, GREEN, RED, curve, picture
from jasgd import decentralized, problems
from jasgd.results import best

if TYPE_CHECKING:
    import xarray

DASGD, ALL_REDUCE, SERVER = METHODS = "DASGD", "all-reduce SGD", "parameter server"
COLOURS = dict(zip(METHODS, (RED, BLUE, GREEN), strict=True))
LOGISTIC, NETWORK = "logistic regression", "small CNN"
IMAGES = 500  # for the network
# (problem, seconds per gradient, seconds per message)
SETTINGS = (
    (LOGISTIC, "equal", 0.1),
    (LOGISTIC, "sqrt(i)", 0.1),
    (LOGISTIC, "sqrt(i)", 1.0),
    (NETWORK, "sqrt(i)", 1.0),
)
CAPTION = """Digits (500 of them for the network), n = {nodes}, batch {batch} per gradient, 1 or sqrt(i) s per gradient;
all-reduce is charged one message per round, the server one each way. Each at the step out of {rates} with the least mean log
loss (all-reduce: n times larger steps, as it averages where DASGD adds); medians and quartiles of {seeds} seeds. Sizes are
ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The sizes.

    Attributes:
      nodes: how many.
      batch: examples per gradient.
      seconds: simulated.
      records: of every run.
      rates: steps of DASGD and of the server.
      settings: problem, speeds and seconds per message.
      seeds: of start and samples.
    """

    nodes: int = 16
    batch: int = 16
    seconds: float = 120.0
    records: int = 40
    rates: tuple[float, ...] = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
    settings: tuple[tuple[str, str, float], ...] = SETTINGS
    seeds: int = 3

    def quick(self) -> "Config":
        """One setting, short."""
        return dataclasses.replace(
            self, nodes=8, seconds=20.0, records=10, rates=(0.08, 0.16), settings=(SETTINGS[2],), seeds=2
        )


def _problem(name: str, config: Config) -> jasgd.Problem:
    if name == LOGISTIC:
        return problems.logistic_regression(config.nodes, batch=config.batch)
    digits = problems.digits()
    images = problems.Dataset(digits.inputs[:IMAGES].reshape(-1, 8, 8, 1), digits.labels[:IMAGES])
    return problems.classification(problems.cnn(), config.nodes, data=images, batch=config.batch)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Every method at its best step, in every setting; and how busy the nodes are."""
    import xarray

    times = np.linspace(0, config.seconds, config.records + 1)[1:]
    n, parts = config.nodes, []
    for place, (name, speed, message) in enumerate(config.settings):
        made = _problem(name, config)
        each = np.sqrt(np.arange(1, n + 1)) if speed == "sqrt(i)" else np.ones(n)
        fleet = jasgd.fleet.fixed(each)
        rounds = int(config.seconds / (each.max() + message)) + 2
        larger = [n * rate for rate in config.rates]
        without = {
            DASGD: (decentralized.dasgd(fleet, gradients_in(config.seconds, each), latencies=message), config.rates),
            ALL_REDUCE: (decentralized.local_sgd(fleet, np.full((n, n), 1 / n), rounds, latency=message), larger),
        }
        linked = fleet.with_links(upload=message, download=message)
        server = Contestant(lambda updates, _, f=linked: jasgd.protocols.asynchronous(f, updates), optax.sgd, config.rates)
        results = [contest(made, without, times=times, seeds=config.seeds)]
        results.append(
            contest_with_server(made, {SERVER: server}, times=times, seeds=config.seeds, key=KEY, folder=folder / str(place))
        )
        chosen = [
            best(_with_area(one.sel(algorithm=[method])), over=["learning_rate"], metric="area")[["loss", "accuracy"]]
            for one, method in zip((results[0], *results), METHODS, strict=True)
        ]
        part = xarray.concat([_only_times(one) for one in chosen], "algorithm", combine_attrs="drop")
        busy = [1.0, each.mean() / (each.max() + message), float(np.mean(each / (each + 2 * message)))]
        parts.append(part.assign(busy=("algorithm", busy)).assign_attrs(attributes(results)))
    found = xarray.concat(parts, "setting", combine_attrs="drop")
    names = [f"{name}, {speed} s, messages {message:g} s" for name, speed, message in config.settings]
    shown = {"nodes": n, "batch": config.batch, "rates": len(config.rates), "seeds": config.seeds}
    return found.assign_coords(setting=names).assign_attrs(attributes(parts) | shown)


def _with_area(found: "xarray.Dataset") -> "xarray.Dataset":
    """How low the logarithm of the loss has been so far: less noisy than the last loss."""
    return found.assign(area=np.log(found["loss"].fillna(np.inf)).cumsum("time"))


def _only_times(found: "xarray.Dataset") -> "xarray.Dataset":
    """Without the coordinates that differ from method to method."""
    found = found.reset_coords("learning_rate")
    return found.drop_vars([name for name in found.coords if name not in found.dims])


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel per setting."""
    count = found.sizes["setting"]
    caption = CAPTION.format(**found.attrs)
    with picture(path, caption, columns=count, size=(max(8, 3.9 * count), 4.6), squeeze=False) as panels:
        for axes, setting in zip(panels[0], found["setting"].values, strict=True):
            one = found.sel(setting=setting)
            for method, colour in COLOURS.items():
                line = one.sel(algorithm=method)
                rate = float(line["learning_rate"].median())
                curve(axes, line["time"], line["loss"], colour=colour, label=f"{method}, step {rate:.3g}")
            axes.set(yscale="log", xlabel="simulated time [s]")
            axes.set_title(str(setting).replace(", messages", "\nmessages"), fontsize=9)
        panels[0, 0].set_ylabel("loss, at the mean of the replicas")
