"""What a user's ``mypy --strict`` sees: the types of the public names, and mistakes at their lines."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A line that ends with `# error: CODE` must be refused with that code; no other line may be.
SCRIPT = """
from typing import Any, assert_type

import jax
import jax.numpy as jnp
import optax
import xarray
from numpy.typing import NDArray

import jasgd
from jasgd import decentralized
from jasgd.fleet import Fleet

key = jax.random.key(0)

# Time.
fleet = jasgd.fleet.power_law(10, exponent=0.5)
assert_type(fleet, Fleet)
assert_type(fleet.with_links(upload=0.1), Fleet)
assert_type(fleet.times, NDArray[Any] | None)
schedule = jasgd.protocols.asynchronous(fleet, updates=100, seed=0)
assert_type(schedule, jasgd.Schedule)
assert_type(schedule.delay, NDArray[Any])
assert_type(schedule.summary().mean_delay, float)
assert_type(jasgd.protocols.rennala(fleet, 10, batch=3), jasgd.Schedule)
assert_type(jasgd.Schedule.load("schedule.npz"), jasgd.Schedule)
assert_type(jasgd.plan.plan(schedule, 4), jasgd.plan.Plan)

# Arithmetic.
problem = jasgd.problems.quadratic(10, noise=0.1)
assert_type(problem, jasgd.Problem)
assert_type(jasgd.problems.partition.iid([0, 1], 2), list[NDArray[Any]])
own = jasgd.Problem(
    init=lambda key: {"x": jnp.ones(3)},
    loss=lambda params, noise: jnp.sum((params["x"] - noise) ** 2),
    sample=lambda key, worker: jax.random.normal(key, (3,)),
    metrics=lambda params: {"loss": jnp.sum(params["x"]), "grad_norm": jnp.sum(params["x"])},
)
rule = jasgd.rules.ormo(0.1, momentum=0.9, num_workers=10)
assert_type(rule, optax.GradientTransformationExtraArgs)
assert_type(jasgd.rules.scale_by_delay(), optax.GradientTransformationExtraArgs)
assert_type(jasgd.delayed(optax.adam(1e-3), delay=16), optax.GradientTransformationExtraArgs)
oracle = jasgd.oracles.compressed(jasgd.oracles.gradient(), jasgd.compressors.rand_k(2))
assert_type(oracle, jasgd.oracles.Oracle)
assert_type(jasgd.compressors.rand_k(2), jasgd.compressors.Compressor)
run = jasgd.simulate(own, optax.chain(rule, optax.sgd(0.1)), schedule, key=key, every=10, oracle=oracle)
assert_type(run, jasgd.Run)
assert_type(run.history["loss"], NDArray[Any])
assert_type(run.diverged, bool)
assert_type(float(run.params["x"][0]), float)
assert_type(run.to_dataset(), xarray.Dataset)
assert_type(jasgd.split_key(key), tuple[jax.Array, jax.Array])
assert_type(jasgd.job_key(key, 1, 1), jax.Array)

# Many runs, methods, theory.
grid = jasgd.sweep(problem, optax.sgd, schedule, grid={"learning_rate": [0.1, 1.0]}, seeds=2, key=key)
assert_type(grid, xarray.Dataset)
assert_type(jasgd.results.best(grid, over="learning_rate"), xarray.Dataset)
method = jasgd.methods.ringmaster(fleet, updates=10, threshold=2, learning_rate=0.1)
assert_type(method, jasgd.methods.Method)
assert_type(method.simulate(problem, key=key), jasgd.Run)
assert_type(jasgd.theory.optimal_time([1.0, 2.0], 1.0), float)
assert_type(jasgd.citation(jasgd.rules.ormo), str)

# Without a server.
graph = decentralized.topology.ring(10)
execution = decentralized.ad_psgd(fleet, graph, gradients=10)
assert_type(execution, decentralized.Execution)
assert_type(decentralized.weights.metropolis(graph), NDArray[Any])
assert_type(decentralized.simulate(problem, optax.sgd(0.1), execution, key=key), decentralized.Replicas)
assert_type(decentralized.sweep(problem, optax.sgd, execution, key=key), xarray.Dataset)

# Mistakes.
jasgd.simulate(problem, optax.sgd(0.1), schedule, key=key, evry=10)  # error: call-arg
jasgd.simulate(problem, optax.sgd(0.1), schedule)  # error: call-arg
jasgd.simulate(problem, optax.sgd(0.1), fleet, key=key)  # error: arg-type
jasgd.simulate(problem, 0.1, schedule, key=key)  # error: arg-type
jasgd.simulate(problem, optax.sgd, schedule, key=key)  # error: arg-type
jasgd.simulate(problem, optax.sgd(0.1), schedule, key=0)  # error: arg-type
jasgd.protocols.asynchronous(schedule, 10)  # error: arg-type
jasgd.protocols.asynchronous(fleet, 10, assignment="unifrom")  # error: arg-type
jasgd.protocols.ringmaster(fleet, 10, thresold=3)  # error: call-arg
jasgd.protocols.ringmasters  # error: attr-defined
jasgd.Problem(init=1.0, loss=own.loss, sample=own.sample, metrics=own.metrics)  # error: arg-type
jasgd.delayed(optax.sgd(0.1), 3)  # error: call-arg
run.los  # error: attr-defined
run.diverged = True  # error: misc
"""

CONFIG = f"""
[mypy]
strict = True
mypy_path = {ROOT}

# As for an installed package: types are seen, the package itself is not judged.
[mypy-jasgd.*]
follow_imports = silent

# These come without a promise about types; a user says how they are to be seen.
[mypy-optax.*,chex.*,networkx.*]
follow_untyped_imports = True
follow_imports = silent
"""


@pytest.mark.slow
def test_a_strict_user_sees_types_and_mistakes(tmp_path):
    """Every ``assert_type`` holds, and exactly the marked lines are refused."""
    pytest.importorskip("mypy")
    script = tmp_path / "user.py"
    script.write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", "--no-pretty", script.name]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = {int(line): code for line, code in re.findall(r"^user\.py:(\d+): error: .*\[([\w-]+)\]$", said.stdout, re.M)}
    marked = {i: line.split("# error: ")[1] for i, line in enumerate(SCRIPT.splitlines(), 1) if "# error: " in line}
    assert found == marked, said.stdout + said.stderr
