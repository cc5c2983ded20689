"""Sweeps over several devices: the results do not depend on how many there are, and they all work."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray

EPS = float(np.finfo(np.float32).eps)
CLOSE = {"rtol": 200 * EPS, "atol": 20 * EPS}  # a hundred updates of order one in single precision

# Every sweep on eight, three and one of the devices: datasets, and the arrays on every device in each call of the loop.
SCRIPT = """
import json, sys
import jax, jasgd, numpy as np, optax
from jasgd import batch

folder = sys.argv[1]
key = jax.random.key(0)
problem = jasgd.problems.quadratic(6, noise=0.1)
fleet, random = jasgd.fleet.power_law(5, 1.0), jasgd.fleet.exponential(np.ones(5))
rates = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 1e6]
schedules = {
    "many": jasgd.protocols.asynchronous(fleet, 100),
    "few": jasgd.protocols.minibatch(fleet, 20),
    "several": lambda seed: jasgd.protocols.asynchronous(random, 200, seed=seed).until(20.0),
}
grids = {"many": rates, "few": rates[:2], "several": rates[-3:]}
seeds = {"many": 3, "few": 1, "several": 3}
step, calls = batch.step, []

def watched(loop, mesh, numbers, keys, state, chunk):
    state = step(loop, mesh, numbers, keys, state, chunk)
    calls.append([shard.data.shape[0] for shard in state.params.addressable_shards])
    return state

batch.step = watched
layout = {}
for name, rate in grids.items():
    options = {"grid": {"learning_rate": rate}, "seeds": seeds[name], "key": key, "every": 10}
    for count in (8, 3, 1):
        devices = jax.devices()[:count]
        result = jasgd.sweep(problem, optax.sgd, schedules[name], devices=devices if count < 8 else None, **options)
        jasgd.results.save_dataset(result, f"{folder}/{name}-{count}.nc")
        layout[f"{name}-{count}"], calls[:] = list(calls), []
    if name != "several":
        run = jasgd.simulate(problem, optax.sgd(rate[0]), schedules[name], key=jax.random.fold_in(key, 0), every=10)
        np.save(f"{folder}/{name}.npy", run.history["loss"])
json.dump({"devices": jax.device_count(), "layout": layout}, open(f"{folder}/layout.json", "w"))
"""


@dataclasses.dataclass(frozen=True)
class Found:
    """What the script has found; ``layout`` has, of every call of the loop, the runs on each device."""

    results: dict[str, xarray.Dataset]
    alone: dict[str, np.ndarray]
    layout: dict[str, list[list[int]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All sweeps, in one process that has eight devices."""
    folder = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, str(folder)], check=True, env=environment)
    stored = json.loads((folder / "layout.json").read_text())
    assert stored["devices"] == 8
    return Found(
        results={name: xarray.load_dataset(folder / f"{name}.nc") for name in stored["layout"]},
        alone={name: np.load(folder / f"{name}.npy") for name in ("many", "few")},
        layout=stored["layout"],
    )


@pytest.mark.parametrize("count", [8, 3])
@pytest.mark.parametrize("name", ["many", "few", "several"])
def test_the_result_does_not_depend_on_the_devices(found, name, count):
    """Numbers of runs that no number of devices divides, fewer runs than devices, a schedule for every seed."""
    one, more = found.results[f"{name}-1"], found.results[f"{name}-{count}"]
    assert set(one.variables) == set(more.variables)
    for variable in one.variables:
        np.testing.assert_allclose(more[variable], one[variable], **CLOSE, err_msg=variable)


@pytest.mark.parametrize("count", [8, 3, 1])
@pytest.mark.parametrize("name", ["many", "few"])
def test_runs_on_devices_are_simulations(found, name, count):
    """The first run is what simulate computes."""
    mine = found.results[f"{name}-{count}"]["loss"].isel(learning_rate=0, seed=0)
    np.testing.assert_allclose(mine, found.alone[name], **CLOSE)


@pytest.mark.parametrize("count", [8, 3, 1])
def test_divergence_on_one_device_is_divergence_on_another(found, count):
    """Only the run with the far too large step diverges, on every device alike."""
    result = found.results[f"many-{count}"]
    assert result["diverged"].all("seed").values.tolist() == [False] * 6 + [True]
    assert result["loss"].isel(learning_rate=slice(6)).notnull().all()


@pytest.mark.parametrize(
    ("case", "devices"), [("many-8", 8), ("many-3", 3), ("many-1", 1), ("few-8", 2), ("few-3", 2), ("several-8", 8)]
)
def test_runs_are_laid_over_the_devices(found, case, devices):
    """All devices that there are runs for have equally many of them."""
    runs = found.results[case]["diverged"].size
    assert found.layout[case]
    for shards in found.layout[case]:
        assert len(shards) == devices
        assert len(set(shards)) == 1
    assert shards[0] <= -(-runs // devices)


def test_little_is_computed_twice(found):
    """Twenty-one runs on eight devices: three on each at the most, in one batch of two chunks."""
    assert found.layout["many-8"] == [[3] * 8] * 2
    assert found.layout["many-3"] == [[7] * 3] * 2
    assert found.layout["few-8"] == [[1] * 2] * len(found.layout["few-8"])
