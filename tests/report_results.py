"""Stored results for the tests of the report: made by hand, so that nothing is simulated."""

import json

import numpy as np
import xarray

import jasgd

RATES, BATCHES, SEEDS, TIMES = [0.01, 0.1, 1.0, 10.0], [4, 16], [0, 1, 2, 3, 4], [0.0, 10.0, 20.0, 40.0, 80.0]


def sweep(*, scale=1.0, metric="loss", name="asynchronous"):
    """A sweep as `jasgd.sweep` returns it. All runs with the largest learning rate diverge, and one seed of the second."""
    rng = np.random.default_rng(0)
    rates, batches, times = (np.array(x, float) for x in (RATES, BATCHES, TIMES))
    decay = np.exp(-np.multiply.outer(np.minimum(rates, 0.5), times))[:, None, None, :]
    noise = 1 + 0.3 * rng.random((len(RATES), len(BATCHES), len(SEEDS), len(TIMES)))
    values = scale * (decay + (rates[:, None] / batches)[..., None, None] / 10) * noise
    values[3, :, :, 2:] = np.nan
    values[2, :, 4, 3:] = np.nan
    dims = ("learning_rate", "batch", "seed", "time")
    lost = np.isnan(values).any(-1)
    coords = {"learning_rate": RATES, "batch": BATCHES, "seed": SEEDS, "time": ("time", times, {"units": "s"})}
    updates = np.broadcast_to((times / np.array(BATCHES)[:, None])[None, :, None, :], values.shape).astype(int)
    schedules = [
        {
            "protocol": "rennala",
            "batch": batch,
            "delay": {"mean": batch / 10, "quantiles": [0, 1, 2, 3], "max": batch},
            "deliveries_per_update": batch,
        }
        for batch in BATCHES
    ]
    attributes = jasgd.results.provenance(problem=name, key=[0, 0], seconds="1.5", schedules=schedules)
    dataset = xarray.Dataset(
        {
            metric: (dims, values, {"units": "1"}),
            "accuracy": (dims, 1 - values, {"units": "1"}),
            "diverged": (dims[:-1], lost),
        },
        coords,
        attributes,
    )
    return dataset.assign_coords(
        version=(dims, updates, {"units": "server updates"}),
        uploaded_bytes=(dims, 8.0 * updates, {"units": "B"}),
    )


def run():
    """A single run as `run.to_dataset()`."""
    history = {"version": [0, 5, 10], "time": [0.0, 4.0, 9.0], "loss": [1.0, 0.5, 0.25], "uploaded_bytes": [0.0, 40.0, 80.0]}
    schedules = [{"protocol": "asynchronous", "delay": {"mean": 2.5, "quantiles": [0, 2, 4, 6], "max": 7}}]
    return jasgd.results.to_dataset(history, jasgd.results.provenance(schedules=schedules))


def embedded(page):
    """The charts that a page carries."""
    begin = page.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return {chart["id"]: chart for chart in json.loads(page[begin : page.index("</script>", begin)])["charts"]}
