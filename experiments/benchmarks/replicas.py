"""What executions without a server cost: gradients per second of nodes that gossip, against bare gradients.

1000 nodes on a torus with the digits MLP; every gradient has its own replica, as in the lanes limit that it is held against.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jasgd
from experiments.benchmarks.loops import lanes_limit
from experiments.benchmarks.measure import Competitor, paired, ratio
from experiments.benchmarks.report import about
from jasgd import decentralized
from jasgd.decentralized import engine, topology, weights
from jasgd.decentralized.plan import plan
from jasgd.traced import traced

_RATE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure what executions without a server cost.

    Attributes:
      rows, columns: of the torus.
      gradients: of each execution.
      repeats: rounds in which all competitors run once.
      out: also write a JSON file.
    """

    rows: int = 25
    columns: int = 40
    gradients: int = 8_000
    repeats: int = 5
    out: Path | None = None


def simulated(name: str, problem: jasgd.Problem, execution: decentralized.Execution, lanes: int) -> Competitor:
    """The engine on a whole execution, in one call."""
    params, key = problem.init(jax.random.key(0)), jax.random.key(1)
    program = traced(problem, optax.sgd(_RATE), params, key)
    compiled = plan(execution, lanes)
    loop = engine.loop_of(program, compiled)
    chunk = jax.device_put(engine.chunk_of(compiled, 0, compiled.steps, compiled.steps))

    def run() -> None:
        jax.block_until_ready(engine.run(loop, program.numbers, key, engine.init(program, compiled), chunk))

    return Competitor(name=name, run=run, deliveries=int(execution.gradients[-1]), detail=f"{compiled.slots} slots")


def main(options: Options) -> None:
    """Measure, print, write the file."""
    n = options.rows * options.columns
    problem = jasgd.problems.mlp(n)
    fleet = jasgd.fleet.lognormal(np.zeros(n), 0.5)
    graph = topology.torus(options.rows, options.columns)
    share = weights.metropolis(graph)
    makers: dict[str, Callable[[], decentralized.Execution]] = {
        "ad_psgd": lambda: decentralized.ad_psgd(fleet, graph, options.gradients),
        "swift": lambda: decentralized.swift(fleet, share, options.gradients, latencies=0.1),
        "local_sgd": lambda: decentralized.local_sgd(fleet, share, options.gradients // n),
    }
    params, key = problem.init(jax.random.key(0)), jax.random.key(1)
    limits = {width: lanes_limit(problem, width, options.gradients // width, params=params, key=key) for width in (1, 8, 32)}
    competitors, seconds = [], {}
    for name, make in makers.items():
        began = time.perf_counter()
        execution = make()
        seconds[name] = time.perf_counter() - began
        competitors += [simulated(f"{name}, {lanes} lanes", problem, execution, lanes) for lanes in (1, 8, 32)]
    competitors += [
        Competitor(name=f"limit, {width}", run=run, deliveries=options.gradients // width * width)
        for width, run in limits.items()
    ]
    rates = paired(competitors, repeats=options.repeats)
    best = max(limits, key=lambda width: np.median(rates[f"limit, {width}"]))
    found: dict[str, Any] = {}
    print("| execution | gradients per second | / bare gradients | slots |\n| --- | --- | --- | --- |")
    for one in competitors:
        spread = ratio(rates, one.name, f"limit, {best}")
        rate = float(np.median(rates[one.name]))
        found[one.name] = {"rate": rate, "ratio": dataclasses.asdict(spread), "detail": one.detail}
        print(f"| {one.name} | {rate:.0f} | {spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f}) | {one.detail} |")
    settings = about(repeats=options.repeats, quick=False)
    print("\nseconds to plan: " + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()))
    print("; ".join(f"{name} {value}" for name, value in settings.items()))
    if options.out is not None:
        text = json.dumps({"about": settings, "device": found, "seconds_to_plan": seconds}, indent=2)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    main(tyro.cli(Options))
