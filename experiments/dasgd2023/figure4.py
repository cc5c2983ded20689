"""Methods without a server: on three graphs, with and without a slow node."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import networkx
import numpy as np

import jasgd
from experiments.contest import attributes
from experiments.dasgd2023.contests import contest, gradients_in
from experiments.pictures import BLUE, GREEN, ORANGE, PINK, RED, curve, picture
from jasgd import decentralized, problems
from jasgd.decentralized import Execution, topology
from jasgd.decentralized import weights as mixing
from jasgd.results import best

if TYPE_CHECKING:
    import xarray

DSGD, AD_PSGD, SWIFT, R_FAST, DASGD = METHODS = "D-SGD", "AD-PSGD", "SWIFT", "R-FAST", "DASGD"
COLOURS = dict(zip(METHODS, (BLUE, GREEN, ORANGE, PINK, RED), strict=True))
GRAPHS = ("ring", "torus", "exponential")
SLOW, EVEN = "slow node", "no slow node"
LATENCY = 0.1  # seconds of a message over a link
CAPTION = """Logistic regression on the digits sorted by label, a share per node; n = {nodes}, 0.9 to 1.1 s per gradient,
the slow node four times as long; 0.1 s per link (AD-PSGD: none, its exchange takes no time here; DASGD floods). Best of
{rates} steps by the last loss, below on the right all with {step:g}; medians and quartiles of {seeds} seeds. All is ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The sizes.

    Attributes:
      side: the torus has its square of nodes.
      batch: examples per gradient.
      seconds: simulated.
      records: of every run.
      rates: steps, those of DASGD are smaller by the number of nodes.
      graphs: on which.
      methods: which.
      step: with which the distances of the replicas are compared.
      seeds: of start and samples.
    """

    side: int = 4
    batch: int = 16
    seconds: float = 150.0
    records: int = 50
    rates: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    graphs: tuple[str, ...] = GRAPHS
    methods: tuple[str, ...] = METHODS
    step: float = 0.3
    seeds: int = 3

    def quick(self) -> "Config":
        """Nine nodes on a ring, three methods."""
        small = dataclasses.replace(self, side=3, seconds=20.0, records=10, rates=(0.3,), graphs=("ring",), seeds=2)
        return dataclasses.replace(small, methods=(DSGD, SWIFT, DASGD))


def graph(name: str, side: int) -> "networkx.Graph":
    """An undirected graph of ``side`` squared nodes."""
    n = side**2
    match name:
        case "ring":
            return topology.ring(n)
        case "torus":
            return topology.torus(side, side)
        case _:
            return topology.exponential(n).to_undirected()


def executions(name: str, config: Config, *, slow: bool) -> dict[str, Execution]:
    """What every method does on a graph."""
    links = graph(name, config.side)
    n, W = links.number_of_nodes(), mixing.metropolis(links)
    each = np.linspace(0.9, 1.1, n)
    each[0] *= 4 if slow else 1
    fleet, enough = jasgd.fleet.fixed(each), gradients_in(config.seconds, each)
    hops = topology.latencies(topology.with_seconds(links, LATENCY))
    rounds = int(config.seconds / (each.max() + LATENCY)) + 2
    return {
        DSGD: decentralized.local_sgd(fleet, W, rounds, latency=LATENCY),
        AD_PSGD: decentralized.ad_psgd(fleet, links, enough),
        SWIFT: decentralized.swift(fleet, W, enough, latencies=LATENCY),
        R_FAST: decentralized.r_fast(fleet, W, W, enough, latencies=LATENCY),
        DASGD: decentralized.dasgd(fleet, enough, latencies=hops),
    }


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Best steps on every graph; the first graph also without the slow node; and the distances at one step."""
    import xarray

    del folder
    n = config.side**2
    data = problems.digits()
    made = problems.logistic_regression(problems.partition.by_label(data.labels, n), batch=config.batch)
    times = np.linspace(0, config.seconds, config.records + 1)[1:]
    settings = [(name, True) for name in config.graphs] + [(config.graphs[0], False)]
    parts, chosen = [], []
    for name, slow in settings:
        run = contest(made, _with_rates(executions(name, config, slow=slow), config), times=times, seeds=config.seeds)
        each = [
            best(run.sel(algorithm=[one]), over="learning_rate")[["loss", "grad_norm", "consensus"]]
            for one in config.methods
        ]
        part = xarray.concat([one.reset_coords("learning_rate") for one in each], "algorithm")
        chosen.append(part.assign(spread=_spread(run, config, n)))
        parts.append(run)
    found = xarray.concat(chosen, "setting").assign_coords(
        setting=[f"{name}, {SLOW if slow else EVEN}" for name, slow in settings],
        gap=("setting", [mixing.spectral_gap(mixing.metropolis(graph(name, config.side))) for name, _ in settings]),
    )
    shown = {"nodes": n, "rates": len(config.rates), "seeds": config.seeds, "step": config.step}
    return found.assign_attrs(attributes(parts) | shown)


def _with_rates(runs: Mapping[str, Execution], config: Config) -> dict[str, tuple[Execution, tuple[float, ...]]]:
    """DASGD adds what the others average."""
    fewer = tuple(rate / config.side**2 for rate in config.rates)
    return {name: (runs[name], fewer if name == DASGD else config.rates) for name in config.methods}


def _spread(run: "xarray.Dataset", config: Config, nodes: int) -> "xarray.DataArray":
    """Squared distance of the replicas from their mean in the second half, at the one step."""
    import xarray

    each = []
    for name in config.methods:
        rate = config.step / nodes if name == DASGD else config.step
        each.append(run["consensus"].sel(algorithm=name).sel(learning_rate=rate, method="nearest").reset_coords(drop=True))
    late = xarray.concat(each, "algorithm").isel(time=slice(config.records // 2, None))
    return late.mean("time").assign_coords(algorithm=list(config.methods))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Losses and distances with seconds on every graph, and distances by the spectral gap."""
    slow = [str(name) for name in found["setting"].values if str(name).endswith(f", {SLOW}")]
    shape = {"rows": 2, "columns": len(slow) + 1, "size": (4 * len(slow) + 4, 7.4), "squeeze": False}
    with picture(path, CAPTION.format(**found.attrs), **shape) as panels:
        for column, setting in enumerate([*slow, str(found["setting"].values[-1])]):
            one = found.sel(setting=setting)
            axes, below = panels[:, column]
            for method in one["algorithm"].values:
                line, colour = one.sel(algorithm=method), COLOURS[str(method)]
                label = f"{method}, step {float(line['learning_rate']):.2g}"
                curve(axes, line["time"], line["grad_norm"] ** 2, colour=colour, label=label)
                if column < len(slow):
                    curve(below, line["time"][1:], line["consensus"].isel(time=slice(1, None)), colour=colour, label="")
            axes.set_title(f"{setting}, gap {float(one['gap']):.2g}", fontsize=9)
            for panel in (axes, below):
                panel.set(yscale="log", xlabel="simulated time [s]")
            axes.set_ylim(bottom=axes.get_ylim()[0] / 50)
            axes.legend(frameon=False, fontsize=8, loc="lower left")
        panels[0, 0].set_ylabel(r"$\|\nabla f(\bar x)\|^2$")
        panels[1, 0].set_ylabel(r"$\frac{1}{n} \sum_i \|x_i - \bar x\|^2$, best steps")
        last, gaps = panels[1, -1], found["gap"].sel(setting=slow)
        order = np.argsort(gaps.values)
        for method in found["algorithm"].values:
            late = found["spread"].sel(algorithm=method, setting=slow).median("seed").values
            last.plot(gaps.values[order], late[order], "o-", color=COLOURS[str(method)])
        last.set(xscale="log", yscale="log", xlabel="spectral gap", ylabel="distance of the replicas, one step")
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5) if 0.9 * gaps.min() < tick < 1.1 * gaps.max()]
        last.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        last.tick_params("x", which="minor", bottom=False, labelbottom=False)
