"""One simulation over several devices: the same result, laid out as asked. Eight devices of one CPU, in its own process."""

import subprocess
import sys

import jax
import pytest

import jasgd

pytestmark = pytest.mark.compiled_quickly
SCRIPT = r"""
import jax
jax.config.update("jax_num_cpu_devices", 8)
import re, numpy as np, optax, jasgd
from jasgd import chunks, engine
from jasgd.plan import plan

auto = jax.sharding.AxisType.Auto
line = jax.make_mesh((8,), ("d",), axis_types=(auto,))
square = jax.make_mesh((2, 4), ("l", "p"), axis_types=(auto, auto))
layouts = [
    jasgd.Layout(mesh=line, lanes="d"),
    jasgd.Layout(mesh=line, params="d"),
    jasgd.Layout(mesh=square, lanes="l", params="p"),
]
problem = jasgd.problems.mlp(16, hidden=(8,), batch=4)
fleet, key = jasgd.fleet.power_law(16, exponent=0.5), jax.random.key(0)
cases = [
    (jasgd.protocols.asynchronous(fleet, 60), 8, optax.adam(1e-2), layouts),
    (jasgd.protocols.minibatch(fleet, 4), 16, optax.sgd(0.1), layouts[2:]),
    (jasgd.protocols.asynchronous(fleet, 30), 1, optax.sgd(0.1, momentum=0.9), layouts[1:2]),
]
for schedule, lanes, rule, tried in cases:
    alone = jasgd.simulate(problem, rule, schedule, key=key, lanes=lanes, every=30)
    for layout in tried:
        run = jasgd.simulate(problem, rule, schedule, key=key, lanes=lanes, every=30, layout=layout)
        np.testing.assert_allclose(run.history["loss"], alone.history["loss"], rtol=2e-5)
        kernel = max(jax.tree.leaves(run.params), key=lambda leaf: leaf.size)
        assert len(kernel.sharding.device_set) == 8
        part = kernel.addressable_shards[0].data.size
        assert part * (1 if layout.params is None else layout.mesh.shape[layout.params]) == kernel.size, (layout, part)

# Lanes are spread: a device multiplies what belongs to its own lane, not to all eight. Here compiled as for users.
jax.config.update("jax_disable_most_optimizations", False)
jax.clear_caches()
schedule, lanes, rule, _ = cases[0]
program = engine.traced(problem, rule, problem.init(key), key)
compiled = plan(schedule, lanes)
products = []
for layout in (None, layouts[0]):
    loop = engine.loop_of(program, compiled, layout=layout)
    state = engine.init(program, compiled, layout=layout)
    chunk = chunks.chunk_arrays(loop, compiled, 0)
    text = engine.step.lower(loop, program.numbers, key, state, chunk).compile().as_text()
    products.append(set(re.findall(r"(f32\[[0-9,]*\])[^=]* dot\(", text)))
assert "f32[8,4,10]" in products[0] and "f32[4,10]" in products[1] and "f32[8,4,10]" not in products[1], products
print("laid out")
"""


def test_lanes_and_parameters_are_spread_and_nothing_changes():
    """Asynchronous SGD, rounds and one lane; lanes, parameters and both."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "laid out", done.stdout + done.stderr


def test_axes_must_exist_and_differ():
    """One sentence each."""
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    with pytest.raises(ValueError, match=r"has the axes \('d',\), got 'e'"):
        jasgd.Layout(mesh=mesh, lanes="e")
    with pytest.raises(ValueError, match="must be different axes"):
        jasgd.Layout(mesh=mesh, lanes="d", params="d")
