"""Sweeps where every operation has its price: runs and lanes together, all versions of a step formed at once."""

import collections

import jax
import numpy as np
import optax
import pytest
from test_at_once import problem_of

import jasgd
from jasgd import batch
from jasgd.batches import Batch, Width, batches_of
from jasgd.runs import groups_of
from jasgd.sweeps import plan_sweep

pytestmark = pytest.mark.compiled_quickly

KEY = jax.random.key(5)
FLEET = jasgd.fleet.power_law(16, 0.3)
SCHEDULES = {
    "waiting gradients": jasgd.protocols.asynchronous(FLEET, 60),
    "several per step": jasgd.protocols.asynchronous(FLEET, 25, wait_for=3),
    "dropping": jasgd.protocols.asynchronous(FLEET, 60, max_delay=12),
}
GRID = {"learning_rate": [0.02, 0.1], "momentum": [0.01, 0.8]}


@pytest.fixture
def accelerated(monkeypatch):
    """Treat this device as one that pays for every operation."""
    return lambda yes=True: monkeypatch.setattr("jasgd.runs.launches_cost", lambda: yes)


def both(accelerated, *args, **arguments):
    """The sweep as on a CPU, and as on an accelerator."""
    found = []
    for yes in (False, True):
        accelerated(yes)
        found.append(jasgd.sweep(*args, **arguments, key=KEY))
    return found


def momentum(learning_rate, momentum):
    """With a step counter, so that the state is more than one vector."""
    return optax.sgd(optax.linear_schedule(learning_rate, 0.01, 40), momentum=momentum)


@pytest.mark.parametrize(("schedule", "lanes"), [("waiting gradients", 8), ("several per step", 8), ("dropping", 4)])
def test_a_sweep_finds_the_same_at_once(accelerated, schedule, lanes):
    """All metrics of all versions that are recorded."""
    one, two = both(accelerated, problem_of(3), momentum, SCHEDULES[schedule], grid=GRID, seeds=3, every=6)
    assert "of 1 lanes" in one.attrs["batches"]
    assert f"of {lanes} lanes" in two.attrs["batches"]
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(one[name], two[name], rtol=2e-5, atol=1e-6)


def test_every_run_equals_itself_alone(accelerated, monkeypatch):
    """As on a CPU: what a run finds does not depend on its neighbours."""
    accelerated()
    monkeypatch.setattr("jasgd.simulation.launches_cost", lambda: True)
    schedule = SCHEDULES["waiting gradients"]
    found = jasgd.sweep(problem_of(), optax.sgd, schedule, grid={"learning_rate": [0.05, 0.1]}, seeds=2, key=KEY, every=10)
    for rate in (0.05, 0.1):
        for seed in range(2):
            alone = jasgd.simulate(
                problem_of(), optax.sgd(rate), schedule, key=jax.random.fold_in(KEY, seed), every=10, lanes=8
            )
            np.testing.assert_allclose(
                found["loss"].sel(learning_rate=rate, seed=seed), alone.history["loss"], rtol=2e-5, atol=1e-6
            )


def test_schedules_of_different_length_share_a_program(accelerated):
    """Then with one lane; parameters are vectors all the same."""

    def schedule(exponent, seed):
        return jasgd.protocols.asynchronous(jasgd.fleet.power_law(6, exponent), 40, max_delay=5, seed=seed)

    grid = {"exponent": [0.0, 1.0]}
    one, two = both(accelerated, problem_of(3), optax.sgd(0.1), schedule, grid=grid, seeds=2, every=8)
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=2e-5, atol=1e-6)


def test_rules_that_are_not_linear_stay_as_they_are(accelerated):
    """Bit for bit."""
    grid = {"learning_rate": [0.05, 0.1]}
    one, two = both(accelerated, problem_of(), optax.adam, SCHEDULES["dropping"], grid=grid, every=10)
    np.testing.assert_array_equal(one["loss"], two["loss"])


def test_a_run_that_diverges_harms_nobody(accelerated):
    """The others go on; it is marked as on a CPU."""
    schedule = jasgd.protocols.asynchronous(FLEET, 100)
    grid = {"learning_rate": [0.05, 1e9]}
    one, two = both(accelerated, problem_of(), optax.sgd, schedule, grid=grid, every=5)
    assert two["diverged"].values.ravel().tolist() == one["diverged"].values.ravel().tolist() == [False, True]
    np.testing.assert_allclose(one["loss"].sel(learning_rate=0.05), two["loss"].sel(learning_rate=0.05), rtol=2e-5)


def test_a_killed_sweep_continues_bit_for_bit(accelerated, tmp_path, monkeypatch):
    """Vectors of many runs are stored and read back."""
    accelerated()
    asked = problem_of(3), momentum, SCHEDULES["waiting gradients"]
    arguments = {"grid": GRID, "seeds": 2, "key": KEY, "every": 1, "runs_at_once": 4}
    whole = jasgd.sweep(*asked, **arguments)
    step, calls = batch.step, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(batch, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        jasgd.sweep(*asked, **arguments, resume=tmp_path, save_every=0.0)
    monkeypatch.setattr(batch, "step", step)
    resumed = jasgd.sweep(*asked, **arguments, resume=tmp_path)
    for name in ("loss", "grad_norm"):
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_operations_do_not_grow_with_lanes(accelerated):
    """8 or 32 lanes of four runs: in the loop over steps the same operations, and no loop inside."""
    accelerated()
    few, many = (operations_of_a_step(lanes) for lanes in (8, 32))
    assert few == many
    assert few["stablehlo.while"] == 0
    assert few["stablehlo.scatter"] == 1


def operations_of_a_step(lanes):
    """By name, of a sweep's program as it is handed to the compiler of a GPU."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(lanes), 20 * lanes)
    planned = plan_sweep(problem_of(), momentum, schedule, grid={**GRID, "momentum": [0.5]}, seeds=2, key=KEY)
    devices = jax.local_devices()[:1]
    (group,) = groups_of(planned.runs, devices)
    assert (group.lanes, group.loop.linear is not None) == (lanes, True)
    mine = Batch(group, batches_of(group, Width(seeds=2, of_seed=2), 1)[0], KEY, devices)
    mine.begin()
    chunk = group.chunk(mine.runs, 0, mine.mesh)
    traced = batch.step.trace(group.loop, mine.mesh, mine.numbers, mine.job_keys, mine.state, chunk)
    module = traced.lower(lowering_platforms=("cuda",)).compiler_ir("stablehlo")
    functions = {str(f.attributes["sym_name"]).strip('"'): f for f in module.body}
    found = collections.Counter()

    def look(operation, depth):
        for inner in (inner.operation for region in operation.regions for block in region for inner in block):
            if depth == 2:
                found[inner.name] += 1
            if inner.name in ("func.call", "sdy.manual_computation"):
                if inner.name == "func.call":
                    look(functions[str(inner.attributes["callee"])[1:]].operation, depth)
                else:
                    look(inner, depth)
            else:
                look(inner, depth + (inner.name == "stablehlo.while"))

    look(functions["main"].operation, 0)
    return found
