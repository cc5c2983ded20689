"""What protocols cost: seconds to plan a schedule, and gradients per second of rounds and thresholds on the device.

Rounds of 256 gradients at one point are held against a bare ``vmap`` over data with one parameter tree, Ringmaster with
stops against plain asynchronous SGD on the same problem.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jasgd
from experiments.benchmarks.measure import Competitor, Spread, paired, ratio
from experiments.benchmarks.report import about
from jasgd import chunks, engine
from jasgd.plan import plan

_RATE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure what the protocols cost.

    Attributes:
      workers: for planning; worker i needs sqrt(i) seconds.
      updates: to plan.
      repeats: rounds in which all competitors of a ratio run once.
      out: also write a JSON file.
    """

    workers: int = 10_000
    updates: int = 100_000
    repeats: int = 5
    out: Path | None = None


def planning(options: Options) -> dict[str, dict[str, float]]:
    """Seconds to plan, and deliveries."""
    fleet, k, p = jasgd.fleet.power_law(options.workers, exponent=0.5), options.updates, jasgd.protocols
    made: dict[str, Callable[[], jasgd.Schedule]] = {
        "asynchronous": lambda: p.asynchronous(fleet, k),
        "ringmaster, R = 1": lambda: p.ringmaster(fleet, k, 1),
        "ringmaster, R = 100": lambda: p.ringmaster(fleet, k, 100),
        "ringmaster, R = 100, stops": lambda: p.ringmaster(fleet, k, 100, stop=True),
        "ringleader": lambda: p.ringleader(fleet, k),
        "rennala, S = 6": lambda: p.rennala(fleet, k, 6),
        "rennala, S = 6, no interrupts": lambda: p.rennala(fleet, k, 6, interrupt=False),
        "rennala, S = 100": lambda: p.rennala(fleet, k, 100),
        "rennala, S = 100, no interrupts": lambda: p.rennala(fleet, k, 100, interrupt=False),
        "m_synchronous, m = 10": lambda: p.m_synchronous(fleet, k, 10),
        "m_synchronous, m = 10, no interrupts": lambda: p.m_synchronous(fleet, k, 10, interrupt=False),
        f"malenia, only {k // 1000} updates": lambda: p.malenia(fleet, k // 1000),
    }
    found = {}
    for name, make in made.items():
        began = time.perf_counter()
        schedule = make()
        found[name] = {"seconds": time.perf_counter() - began, "deliveries": len(schedule)}
    return found


def simulated(name: str, problem: jasgd.Problem, schedule: jasgd.Schedule, lanes: int) -> Competitor:
    """The engine on a whole schedule."""
    params, key = problem.init(jax.random.key(0)), jax.random.key(1)
    program = engine.traced(problem, optax.sgd(_RATE), params, key)
    compiled = plan(schedule, lanes)
    loop = engine.loop_of(program, compiled)
    chunk = jax.device_put(chunks.chunk_arrays(loop, compiled, 0))

    def run() -> None:
        state = engine.init(program, compiled)
        jax.block_until_ready(engine.step(loop, program.numbers, key, state, chunk))

    return Competitor(name=name, run=run, deliveries=len(schedule), detail=f"{compiled.slots} slots")


def bare(problem: jasgd.Problem, lanes: int, steps: int) -> Competitor:
    """Samples and gradients at one point, their mean, a step; again and again."""
    key, workers = jax.random.key(1), jnp.arange(lanes)

    @jax.jit
    def loop(params: Any) -> Any:
        def step(k: jax.Array, params: Any) -> Any:
            keys = jax.vmap(lambda worker: jasgd.job_key(key, worker, k))(workers)
            gradients = jax.vmap(problem.gradient, in_axes=(None, 0))(params, jax.vmap(problem.sample)(keys, workers))
            return jax.tree.map(lambda p, g: p - _RATE * g.mean(0), params, gradients)

        return jax.lax.fori_loop(0, steps, step, params)

    params = problem.init(jax.random.key(0))
    return Competitor(name="bare", run=lambda: jax.block_until_ready(loop(params)), deliveries=lanes * steps)


def on_the_device(options: Options) -> dict[str, dict[str, Any]]:
    """Ratios of gradients per second."""
    lanes, steps, found = 256, 100, {}
    for name, problem in (
        ("logistic regression", jasgd.problems.logistic_regression(lanes)),
        ("mlp", jasgd.problems.mlp(lanes)),
    ):
        rounds = simulated("rounds", problem, jasgd.protocols.minibatch(jasgd.fleet.equal(lanes), steps), lanes)
        rates = paired([rounds, bare(problem, lanes, steps)], repeats=options.repeats)
        found[f"{name}: rounds of {lanes} at one point / bare vmap"] = {"ratio": ratio(rates, "rounds", "bare")}
    fleet, problem = jasgd.fleet.power_law(6174, exponent=0.5), jasgd.problems.quadratic(1729, noise=0.01)
    k = 50_000
    threshold = simulated("ringmaster", problem, jasgd.protocols.ringmaster(fleet, k, 3000, stop=True), 1)
    plain = simulated("plain", problem, jasgd.protocols.asynchronous(fleet, k), 1)
    rates = paired([threshold, plain], repeats=options.repeats)
    found["ringmaster, n = 6174, d = 1729, R = 3000 / asynchronous"] = {
        "ratio": ratio(rates, "ringmaster", "plain"),
        "memory": threshold.detail,
    }
    return found


def main(options: Options) -> None:
    """Measure, print, write the file."""
    device, plans = on_the_device(options), planning(options)
    print("| gradients per second | ratio |\n| --- | --- |")
    for name, result in device.items():
        spread: Spread = result["ratio"]
        print(f"| {name} | {spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f}) |")
    print(f"\n| {options.updates} updates of {options.workers} workers | seconds | deliveries |\n| --- | --- | --- |")
    for name, row in plans.items():
        print(f"| {name} | {row['seconds']:.2f} | {row['deliveries']} |")
    settings = about(repeats=options.repeats, quick=False)
    print("\n" + "; ".join(f"{name} {value}" for name, value in settings.items()))
    if options.out is not None:
        ratios = {name: {**row, "ratio": dataclasses.asdict(row["ratio"])} for name, row in device.items()}
        options.out.write_text(json.dumps({"about": settings, "device": ratios, "planning": plans}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    main(tyro.cli(Options))
