"""A hundred thousand workers, a million deliveries: the time of ``jasgd.simulate`` and the memory it needs.

The simulation runs in a process of its own, whose largest resident memory must stay below twice the snapshots that
somebody still has to read, plus 1 GB. Run it alone with ``python -m experiments.benchmarks.large``.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

WORKERS, DELIVERIES, DIM = 100_000, 1_000_000, 1729
_EXTRA_BYTES = 10**9


def large(*, workers: int = WORKERS, deliveries: int = DELIVERIES, dim: int = DIM) -> dict[str, float]:
    """Run the simulation in a process of its own and report on it."""
    sizes = [str(workers), str(deliveries), str(dim)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.large", *sizes],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _simulate(workers: int, deliveries: int, dim: int) -> dict[str, float]:
    began = time.perf_counter()
    import jax
    import optax

    import jasgd

    imported = time.perf_counter()
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(workers, exponent=0.5), deliveries)
    scheduled = time.perf_counter()
    problem = jasgd.problems.quadratic(dim, noise=0.01)
    # Mean delays are near the number of workers; a step well below 1 / delay keeps the run finite.
    run = jasgd.simulate(problem, optax.sgd(0.1 / workers), schedule, key=jax.random.key(0), every=max(1, deliveries // 10))
    if run.diverged:
        raise RuntimeError(run.message)
    peak = _peak_bytes()
    slots = jasgd.plan.plan(schedule, run.lanes).slots
    bound = 2 * slots * dim * 4 + _EXTRA_BYTES
    return {
        "workers": workers,
        "deliveries": deliveries,
        "dim": dim,
        "lanes": run.lanes,
        "slots": slots,
        "import_seconds": imported - began,
        "schedule_seconds": scheduled - imported,
        "simulate_seconds": run.seconds,
        "deliveries_per_second": deliveries / run.seconds,
        "peak_bytes": peak,
        "bound_bytes": bound,
        "peak_over_bound": peak / bound,
    }


def _peak_bytes() -> int:
    """Largest resident memory of this program; ``getrusage`` alone would remember that of the process that started it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    if len(sys.argv) not in (1, 4):
        sys.exit("usage: python -m experiments.benchmarks.large [WORKERS DELIVERIES DIM]")
    print(json.dumps(_simulate(*(map(int, sys.argv[1:]) if len(sys.argv) == 4 else (WORKERS, DELIVERIES, DIM)))))
