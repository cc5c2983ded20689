"""Runs of a seed that have copies of what they share: when, and that nothing changes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import engine, sweeps
from jasgd.copied import copied
from jasgd.runs import groups_of

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
WORKERS, UPDATES = 3, 30
SCHEDULE = jasgd.protocols.asynchronous(jasgd.fleet.power_law(WORKERS, 1.0), UPDATES)
RATES = [0.02, 0.1]


def loop_of(problem, rates=RATES):
    """The loop of a sweep."""
    devices = jax.local_devices()
    planned = sweeps.plan_sweep(problem, optax.sgd, SCHEDULE, grid={"learning_rate": rates}, key=KEY, devices=devices)
    (group,) = groups_of(planned.runs, devices)
    return group.loop


def test_every_run_has_the_arrays_of_its_seed_and_shares_its_scalars():
    batch = {"x": jnp.arange(6.0).reshape(2, 3), "worker": jnp.arange(2)}  # of two seeds
    runs = jnp.zeros((2, 4))
    over_runs = jax.vmap(copied, in_axes=(None, 0), out_axes={"x": 0, "worker": None})
    found = jax.vmap(over_runs)(batch, runs)
    np.testing.assert_array_equal(found["x"], np.repeat(np.asarray(batch["x"])[:, None], 4, axis=1))
    np.testing.assert_array_equal(found["worker"], batch["worker"])


def test_products_of_runs_stay_apart():
    """Every product has the axis of runs as a batch dimension; without copies the runs' parameters become one matrix."""
    params, batch = jnp.ones((5, 4, 2)), jnp.ones((3, 4))

    def dimensions(product):
        (dot,) = (e for e in jax.make_jaxpr(jax.vmap(product))(params).eqns if e.primitive.name == "dot_general")
        return dot.params["dimension_numbers"][1]

    assert dimensions(lambda w: copied(batch, w) @ w) == ((0,), (0,))
    assert dimensions(lambda w: batch @ w) == ((), ())


@pytest.mark.parametrize(
    ("hidden", "batch", "copies"), [((16,), 4, True), ((16,), 64, False)], ids=["large model", "large batch"]
)
def test_models_larger_than_their_batch_have_copies_and_every_run_is_what_simulate_finds(hidden, batch, copies):
    problem = jasgd.problems.mlp(WORKERS, hidden=hidden, batch=batch)
    assert loop_of(problem).copies == copies
    result = jasgd.sweep(
        problem, optax.sgd, SCHEDULE, grid={"learning_rate": RATES}, seeds=2, key=KEY, every=10, runs_at_once=4
    )
    for rate, seed in itertools.product(RATES, range(2)):
        alone = jasgd.simulate(problem, optax.sgd(rate), SCHEDULE, key=jax.random.fold_in(KEY, seed), every=10)
        mine = result["loss"].sel(learning_rate=rate, seed=seed)
        np.testing.assert_allclose(mine, alone.history["loss"], rtol=1e-5)


def test_one_run_and_accelerators_have_none(monkeypatch):
    problem = jasgd.problems.mlp(WORKERS, hidden=(16,), batch=4)
    assert not loop_of(problem, RATES[:1]).copies
    monkeypatch.setattr(engine, "launches_cost", lambda: True)
    assert not loop_of(problem).copies
