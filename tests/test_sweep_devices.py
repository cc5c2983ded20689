"""Sweeps over several devices: the results do not depend on how many there are, and they all work."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray

pytestmark = pytest.mark.compiled_quickly
EPS = float(np.finfo(np.float32).eps)
CLOSE = {"rtol": 200 * EPS, "atol": 20 * EPS}  # a hundred updates of order one in single precision

# A sweep on several of eight devices: datasets, and how many runs each device has in every call of the loop.
SCRIPT = """
import pathlib, json, sys
import jax, jasgd, numpy as np, optax
from jasgd import batch

folder, case = pathlib.Path(sys.argv[1]), sys.argv[2]
key = jax.random.key(0)
problem = jasgd.problems.quadratic(6, noise=0.1)
fleet, random = jasgd.fleet.power_law(5, 1.0), jasgd.fleet.exponential(np.ones(5))
schedule, rates, seeds, counts = {
    "numbers": (jasgd.protocols.asynchronous(fleet, 100), [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 1e6], 3, (8, 3, 1)),
    "schedules": (lambda seed: jasgd.protocols.asynchronous(random, 200, seed=seed).until(20.0), [0.2, 1e6], 5, (8, 1)),
}[case]
step, layout = batch.step, {}

def watched(loop, mesh, numbers, keys, state, chunk):
    state = step(loop, mesh, numbers, keys, state, chunk)
    calls.append([shard.data.shape[0] for shard in state.params.addressable_shards])
    return state

batch.step = watched
for count in (*counts, "few"):
    calls = layout[count] = []
    few = {"grid": {"learning_rate": rates[-2:]}, "seeds": 1}  # on all devices
    options = few if count == "few" else {"grid": {"learning_rate": rates}, "seeds": seeds, "devices": jax.devices()[:count]}
    result = jasgd.sweep(problem, optax.sgd, schedule, key=key, every=10, **options)
    jasgd.results.save_dataset(result, folder / f"{count}.nc")
(folder / "layout.json").write_text(json.dumps({"devices": jax.device_count(), **layout}))
first = schedule(0) if callable(schedule) else schedule
run = jasgd.simulate(problem, optax.sgd(rates[0]), first, key=jax.random.fold_in(key, 0), every=10)
np.savez(folder / "alone.npz", **run.history)
"""


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("numbers", {"8": [3] * 8, "3": [7] * 3, "1": [7], "few": [1] * 2}),  # seven points times three seeds
        ("schedules", {"8": [2] * 8, "1": [2], "few": [1] * 2}),  # each of five seeds has a schedule of its own length
    ],
)
def test_the_result_does_not_depend_on_the_devices(case, expected, tmp_path):
    """Numbers of runs that they do not divide, or fewer than there are; all that have any have equally many."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path), case], check=True, env=environment)
    layout = json.loads((tmp_path / "layout.json").read_text())
    assert layout.pop("devices") == 8
    assert {count: calls[0] for count, calls in layout.items()} == expected
    assert all(call == calls[0] for calls in layout.values() for call in calls)
    results = {count: xarray.load_dataset(tmp_path / f"{count}.nc") for count in layout}
    alone = np.load(tmp_path / "alone.npz")
    for found in results.values():
        expected = results["1"].sel(learning_rate=found["learning_rate"], seed=found["seed"])
        expected = expected.dropna("version", how="all", subset=["loss"])
        assert set(found["version"].values) >= set(expected["version"].values)
        mine = found.sel(version=expected["version"])
        wild = mine["learning_rate"].values == 1e6
        np.testing.assert_array_equal(mine["diverged_at"], expected["diverged_at"])
        np.testing.assert_array_equal(mine["diverged"], np.broadcast_to(wild[:, None], mine["diverged"].shape))
        np.testing.assert_array_equal(*np.broadcast_arrays(mine["time"], expected["time"]))
        for name in ("loss", "grad_norm", "gap"):
            np.testing.assert_allclose(mine[name][~wild], expected[name][~wild], **CLOSE, err_msg=name)
    first = results["1"].isel(learning_rate=0, seed=0).sel(version=alone["version"])
    np.testing.assert_allclose(first["loss"], alone["loss"], **CLOSE)
