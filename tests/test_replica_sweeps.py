"""Sweeps without a server: every run is the one that is simulated alone."""

import jax
import numpy as np
import optax
import pytest

import jasgd
from jasgd import decentralized as dec

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(2)
PROBLEM = jasgd.problems.quadratic(5, noise=0.2)
GRAPH = dec.topology.ring(4)
FLEET = jasgd.fleet.exponential([1.0, 2.0, 0.7, 1.4])
EXECUTIONS = {
    "ad_psgd": dec.ad_psgd(FLEET, GRAPH, 60),  # gradients that go straight to their rows
    "dasgd": dec.dasgd(FLEET, 60, latencies=0.5),  # gradients that are kept
}
SAME = ("version", "uploaded_bytes", "wire_seconds")


def alone(execution, rule, seed, **records):
    return dec.simulate(PROBLEM, rule, execution, key=jax.random.fold_in(KEY, seed), **records).history


@pytest.mark.parametrize("name", EXECUTIONS)
def test_runs_equal_single_ones(name):
    """Step sizes times seeds, with a rule that has a state of every node; in batches of two sizes."""
    execution, rates = EXECUTIONS[name], [0.02, 0.1]
    for most in (None, 3):
        found = dec.sweep(
            PROBLEM, optax.adam, execution, grid={"learning_rate": rates}, seeds=[3, 1], key=KEY, every=20, runs_at_once=most
        )
        assert dict(found.sizes) == {"learning_rate": 2, "seed": 2, "version": 4}
        for rate in rates:
            for seed in (3, 1):
                mine, known = found.sel(learning_rate=rate, seed=seed), alone(execution, optax.adam(rate), seed, every=20)
                for column in ("loss", "grad_norm", "consensus"):
                    np.testing.assert_allclose(mine[column], known[column], rtol=2e-5, atol=1e-6)
                for column in ("time", *SAME):
                    np.testing.assert_array_equal(mine[column], known[column])
    assert not found["diverged"].any()
    assert found.attrs["gradients"] == str(4 * 60)


def test_every_seed_may_have_its_execution():
    """Functions of seed; records at times that all of them reach, without the end that each has for itself."""

    def execution(seed):
        return dec.ad_psgd(FLEET, GRAPH, 60, seed=seed)

    times = [3.0, 9.0]
    found = dec.sweep(PROBLEM, optax.sgd(0.1), execution, seeds=2, key=KEY, times=times)
    assert found["time"].values.tolist() == [0.0, 3.0, 9.0]
    for seed in range(2):
        known = alone(execution(seed), optax.sgd(0.1), seed, times=times)
        np.testing.assert_allclose(found["loss"].sel(seed=seed), known["loss"][:-1], rtol=2e-5)
        for column in SAME:
            np.testing.assert_array_equal(found[column].sel(seed=seed), known[column][:-1])
    ends = {n: dec.dasgd(FLEET, n) for n in (20, 40)}  # one ends at a time that is asked for
    last = float(ends[20].time[-1])
    found = dec.sweep(PROBLEM, optax.sgd(0.1), lambda n: ends[n], grid={"n": [20, 40]}, key=KEY, times=[1.0, last])
    assert found["time"].values.tolist() == [0.0, 1.0, last]
    with pytest.raises(ValueError, match="do not have the same records; give `times`"):
        dec.sweep(
            PROBLEM, optax.sgd(0.1), lambda gradients: dec.dasgd(FLEET, gradients), grid={"gradients": [9, 8]}, key=KEY
        )


def test_records_may_share_a_version():
    """After the last gradient messages are still under way: two records, one version."""
    execution = dec.dasgd(jasgd.fleet.equal(4), 60, latencies=0.5, drain=True)
    found = dec.sweep(PROBLEM, optax.sgd(0.1), execution, key=KEY, every=58)
    np.testing.assert_array_equal(found["version"], alone(execution, optax.sgd(0.1), 0, every=58)["version"])
    assert found["version"].values.tolist() == [0, 60, 60]


def test_a_diverged_run_spoils_no_other():
    """Its metrics are missing from then on."""
    execution = EXECUTIONS["dasgd"]
    found = dec.sweep(PROBLEM, optax.sgd, execution, grid={"learning_rate": [0.05, 1e20]}, key=KEY, every=10)
    assert found["diverged"].values.ravel().tolist() == [False, True]
    lost = found["loss"].sel(learning_rate=1e20).isel(seed=0)
    assert np.isfinite(lost[0])
    assert np.isnan(lost[-1])
    known = alone(execution, optax.sgd(0.05), 0, every=10)
    np.testing.assert_allclose(found["loss"].sel(learning_rate=0.05).isel(seed=0), known["loss"], rtol=2e-5)


def test_bad_input_is_refused():
    """One sentence each."""
    execution = EXECUTIONS["dasgd"]
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        dec.sweep(PROBLEM, optax.sgd, execution, grid={"learning_rat": [0.1]}, key=KEY)
    with pytest.raises(ValueError, match="`runs_at_once` must be a positive whole number"):
        dec.sweep(PROBLEM, optax.sgd(0.1), execution, key=KEY, runs_at_once=0)
    with pytest.raises(ValueError, match="without a server a rule cannot ask for delay"):
        dec.sweep(PROBLEM, jasgd.rules.staleness_aware_sgd(0.1), execution, key=KEY)
    with pytest.raises(TypeError, match="`execution` must be made by"):
        dec.sweep(PROBLEM, optax.sgd(0.1), "dasgd", key=KEY)
