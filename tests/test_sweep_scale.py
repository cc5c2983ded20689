"""Ten thousand short runs: one program, and memory that does not grow with the runs."""

import os

import jax
import numpy as np
import optax
import pytest

import jasgd
from jasgd import batch


def resident():
    """Megabytes of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")
def test_ten_thousand_runs_need_one_program_and_little_memory():
    """Nothing more is compiled, and the process grows by what the results take and less than 64 MB."""
    problem = jasgd.problems.quadratic(10, noise=0.1)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(10, 1.0), 100)

    def sweep(points):
        grid = {"learning_rate": np.geomspace(1e-3, 0.5, points)}
        return jasgd.sweep(
            problem, optax.sgd, schedule, grid=grid, seeds=10, key=jax.random.key(0), every=50, runs_at_once=16
        )

    sweep(96)  # the same width as below
    before, compiled = resident(), batch.step._cache_size()
    result = sweep(1000)
    assert result["loss"].sizes == {"learning_rate": 1000, "seed": 10, "version": 3}
    assert batch.step._cache_size() == compiled
    assert resident() - before < 64 + result.nbytes / 2**20
