"""What executions without a server cost: gradients per second of nodes that gossip, against bare gradients.

1000 nodes on a torus with the digits MLP; every gradient has its own replica. The lanes limit reads the same few replicas
again and again, which stay in the cache. Here all replicas are read and written, and so are those that are averaged: the
traffic limit moves as many bytes, in one piece each, and does nothing else beside the gradients.
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.benchmarks.loops import lanes_limit
from experiments.benchmarks.measure import Competitor, paired, ratio
from experiments.benchmarks.report import about
from jasgd import decentralized
from jasgd.decentralized import engine, topology, weights
from jasgd.decentralized.plan import plan
from jasgd.keys import job_key
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
    gradients: int = 16_000
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


def traffic_limit(
    problem: jasgd.Problem, nodes: int, lanes: int, steps: int, averages: tuple[int, ...], *, key: jax.Array
) -> Callable[[], None]:
    """Gradients at replicas in order; for each of ``averages`` as many replicas are averaged, and the result is written."""
    wide = lanes * len(averages)
    blocks = -(-nodes // wide)
    first = problem.init(jax.random.key(0))

    @functools.partial(jax.jit, donate_argnums=0)
    def run(pool: optax.Params) -> optax.Params:
        def some(pool: optax.Params, block: jax.Array) -> optax.Params:
            return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, block % blocks * wide, lanes), pool)

        def step(index: jax.Array, pool: optax.Params) -> optax.Params:
            def gradient(node: jax.Array, point: optax.Params) -> optax.Updates:
                return problem.gradient(point, problem.sample(job_key(key, node, index), node))

            gradients = jax.vmap(gradient)(jnp.arange(lanes), some(pool, index))
            made = []
            for place, count in enumerate(averages):
                parts = [some(pool, index + place + 7 * part) for part in range(count)]
                mean = jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / len(leaves), *parts)
                made.append(mean if place else jax.tree.map(lambda x, g: x - _RATE * g, mean, gradients))

            def write(leaf: jax.Array, *new: jax.Array) -> jax.Array:
                return jax.lax.dynamic_update_slice_in_dim(leaf, jnp.concatenate(new), index % blocks * wide, axis=0)

            return jax.tree.map(write, pool, *made)

        return jax.lax.fori_loop(0, steps, step, pool)

    def once() -> None:
        jax.block_until_ready(run(jax.tree.map(lambda leaf: jnp.repeat(leaf[None], blocks * wide, axis=0), first)))

    return once


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
    degree = 5  # a node of the torus, and its neighbours
    averages = {"ad_psgd": (2, 2), "swift": (degree,), "local_sgd": (1, degree)}
    for name, counts in averages.items():
        run = traffic_limit(problem, n, 32, options.gradients // 32, counts, key=key)
        competitors.append(
            Competitor(name=f"{name}, traffic", run=run, deliveries=options.gradients // 32 * 32, detail="as many bytes")
        )
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
