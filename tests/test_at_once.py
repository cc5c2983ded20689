"""Linear rules: all versions of a step are formed at once, as in one delivery after the other, in few operations."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import engine, rules
from jasgd.chunks import chunk_arrays
from jasgd.flat import flattened
from jasgd.plan import plan

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(3)
FLEET = jasgd.fleet.power_law(9, 0.8)
SCHEDULES = {
    "waiting gradients": jasgd.protocols.asynchronous(FLEET, 70),
    "dropping": jasgd.protocols.asynchronous(FLEET, 50, max_delay=4),
    "several per step": jasgd.protocols.asynchronous(FLEET, 30, wait_for=3),
    "weighted sums at drawn delays": jasgd.protocols.delays(5, 25, jasgd.protocols.uniform_delays(4), every_worker=True),
}


def problem_of(leaves=2, dtype=jnp.float32):
    """A quadratic in several leaves of different shapes, with noise and workers that differ."""
    shapes = [(2, 3), (3,), (), (4, 1)]

    def loss(params, batch):
        return 0.5 * sum(jnp.sum((leaf.astype(jnp.float32) - batch) ** 2) for leaf in params.values())

    return jasgd.Problem(
        init=lambda key: {f"leaf{i}": jnp.full(shapes[i % 4], 1.0 + i, dtype) for i in range(leaves)},
        loss=loss,
        sample=lambda key, worker: 0.1 * jax.random.normal(key, ()) + worker / 10,
        metrics=lambda params: {
            "loss": loss(params, 0.0),
            "grad_norm": jnp.linalg.norm(params["leaf0"].astype(jnp.float32)),
        },
    )


def both_programs(problem, rule):
    """The program over trees, and the same over vectors, whose deliveries are applied at once."""
    program = engine.traced(problem, rule, problem.init(KEY), KEY)
    return program, flattened(program)


def run(program, schedule, lanes, chunk_steps=None, key=KEY):
    """The state at the end."""
    compiled = plan(schedule, lanes, chunk_steps=chunk_steps)
    loop, state = engine.loop_of(program, compiled), engine.init(program, compiled)
    assert (loop.linear is not None) == (program.linear is not None)
    for chunk in range(compiled.chunks):
        state = engine.step(loop, program.numbers, key, state, chunk_arrays(loop, compiled, chunk))
    return state


@pytest.mark.parametrize(
    ("rule", "schedule", "lanes", "chunk_steps"),
    [
        (optax.sgd(0.1), "waiting gradients", 4, 5),
        (optax.sgd(0.02, momentum=0.9, nesterov=True), "waiting gradients", 3, None),
        (optax.sgd(optax.linear_schedule(0.1, 0.01, 40), momentum=0.5), "dropping", 2, 7),
        (rules.ormo(0.03, 0.9, 9), "several per step", 6, 4),
        (optax.sgd(0.1), "weighted sums at drawn delays", 4, 6),
        (optax.chain(optax.ema(0.5), optax.sgd(0.1)), "weighted sums at drawn delays", 7, 3),
        (rules.when_applied(rules.delay_adaptive_sgd(0.1, 3)), "weighted sums at drawn delays", 3, None),
    ],
)
def test_at_once_equals_one_after_the_other(rule, schedule, lanes, chunk_steps):
    """Parameters, momentum and counters, and so the reference, whatever the lanes and chunks."""
    problem, schedule = problem_of(), SCHEDULES[schedule]
    program, flat = both_programs(problem, rule)
    one_by_one, at_once = run(program, schedule, lanes), run(flat.program, schedule, lanes, chunk_steps)
    expected, got = (one_by_one.params, one_by_one.rule_state), flat.trees(at_once.params, at_once.rule_state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-6, atol=5e-6), expected, got)


def test_at_once_equals_the_reference():
    """The event loop that the other engine is held to."""
    problem, rule, schedule = problem_of(), optax.sgd(0.03, momentum=0.8), SCHEDULES["weighted sums at drawn delays"]
    flat = both_programs(problem, rule)[1]
    found = flat.params(run(flat.program, schedule, 4, 6, key=jasgd.split_key(KEY)[1]).params)
    points = jasgd.reference.replay(problem, rule, schedule, key=KEY, params=problem.init(KEY))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-6), found, points[-1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.bfloat16, 2**-8), (jnp.float64, 1e-15)])
def test_at_once_in_other_precisions(dtype, tolerance):
    """To a few roundings of values below 1/4; short ones are summed in single precision, so they are rounded less often."""
    with jax.enable_x64(dtype == jnp.float64):
        problem, rule = problem_of(dtype=dtype), optax.sgd(0.05, momentum=0.5)
        program, flat = both_programs(problem, rule)
        schedule = SCHEDULES["waiting gradients"]
        got = flat.params(run(flat.program, schedule, 4).params)
        for a, b in zip(*(jax.tree.leaves(tree) for tree in (run(program, schedule, 4).params, got)), strict=True):
            assert b.dtype == dtype
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), atol=tolerance)


@pytest.fixture
def accelerated(monkeypatch):
    """Treat this device as one that pays for every operation."""
    return lambda yes=True: monkeypatch.setattr("jasgd.simulation.launches_cost", lambda: yes)


@pytest.mark.parametrize(
    ("schedule", "lanes"),
    [
        (SCHEDULES["waiting gradients"], 4),
        (SCHEDULES["waiting gradients"], 1),
        (jasgd.protocols.minibatch(jasgd.fleet.equal(4), 20), 4),
    ],
)
def test_simulate_finds_the_same_on_an_accelerator(accelerated, schedule, lanes):
    """The history, and parameters and state as trees; also with one lane, and with whole rounds."""
    problem, rule = problem_of(3), optax.sgd(optax.constant_schedule(0.05), momentum=0.5)
    found = []
    for yes in (False, True):
        accelerated(yes)
        found.append(jasgd.simulate(problem, rule, schedule, key=KEY, every=6, lanes=lanes))
    one, two = ((dict(run.history), run.params, run.rule_state) for run in found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), one, two)
    assert jax.tree.structure(one) == jax.tree.structure(two)


@pytest.mark.compiled_fully
def test_other_rules_and_layouts_stay_as_they_are(accelerated):
    """Adam is not linear: bit for bit the same."""
    found = []
    for yes in (False, True):
        accelerated(yes)
        found.append(jasgd.simulate(problem_of(), optax.adam(0.1), SCHEDULES["dropping"], key=KEY, lanes=3).params)
    jax.tree.map(np.testing.assert_array_equal, *found)


@pytest.mark.compiled_fully
def test_a_resumed_simulation_continues_bit_for_bit(accelerated, tmp_path, monkeypatch):
    """Vectors are stored and read back like trees."""
    pytest.importorskip("orbax.checkpoint")
    accelerated()
    asked = problem_of(3), optax.sgd(optax.constant_schedule(0.05), momentum=0.5), SCHEDULES["waiting gradients"]
    arguments = {"key": KEY, "every": 2, "lanes": 4}
    whole = jasgd.simulate(*asked, **arguments)
    step, calls = engine.step, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(engine, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        jasgd.simulate(*asked, **arguments, resume=tmp_path, save_every=0.0)
    resumed = jasgd.simulate(*asked, **arguments, resume=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, (whole.params, dict(whole.history)), (resumed.params, dict(resumed.history)))


@pytest.mark.compiled_fully
def test_what_was_begun_at_once_goes_on_at_once(accelerated, tmp_path, monkeypatch):
    """A checkpoint says how it is computed, also to a device that would have chosen otherwise."""
    pytest.importorskip("orbax.checkpoint")
    accelerated()
    asked = problem_of(3), optax.sgd(0.05, momentum=0.5), SCHEDULES["waiting gradients"]
    arguments = {"key": KEY, "every": 2, "lanes": 4}
    whole = jasgd.simulate(*asked, **arguments)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jasgd.simulation.Checkpoints.remove", dies)
        with pytest.raises(KeyboardInterrupt):
            jasgd.simulate(*asked, **arguments, resume=tmp_path, save_every=0.0)
    accelerated(False)
    resumed = jasgd.simulate(*asked, **arguments, resume=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, whole.params, resumed.params)


def test_what_idle_lanes_compute_reaches_nobody():
    """They compute a job of worker 0, which here gives NaN and never arrives."""
    problem = dataclasses.replace(problem_of(), sample=lambda key, worker: jnp.where(worker == 0, jnp.nan, worker / 10))
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1e6, 1.0, 1.7, 2.9]), 40)
    program, flat = both_programs(problem, optax.sgd(0.1))
    expected, got = run(program, schedule, 3).params, flat.params(run(flat.program, schedule, 3).params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6), expected, got)


def test_divergence_is_noticed(accelerated):
    """A step size far too large ends the simulation."""
    accelerated()
    schedule = jasgd.protocols.asynchronous(FLEET, 400)
    found = jasgd.simulate(problem_of(3), optax.sgd(50.0), schedule, key=KEY, every=6, lanes=4)
    assert found.diverged


def test_another_step_size_compiles_nothing():
    """Numbers are arguments here, too."""
    schedule = SCHEDULES["waiting gradients"]
    run(both_programs(problem_of(), optax.sgd(0.1))[1].program, schedule, 4)
    compiled = engine.step._cache_size()
    run(both_programs(problem_of(), optax.sgd(0.2))[1].program, schedule, 4)
    assert engine.step._cache_size() == compiled


class Lowered:
    """The program of a chunk as it is handed to the compiler of a platform, on this CPU."""

    def __init__(self, rule, lanes, platform, *, leaves=4, fleet=None):
        schedule = jasgd.protocols.asynchronous(fleet or jasgd.fleet.equal(4 * lanes), 40 * lanes)
        self.program = both_programs(problem_of(leaves), rule)[1].program
        compiled = plan(schedule, lanes, chunk_steps=8)
        self.loop, self.state = engine.loop_of(self.program, compiled), engine.init(self.program, compiled)
        chunk = chunk_arrays(self.loop, compiled, 0)
        traced = engine.step.trace(self.loop, self.program.numbers, KEY, self.state, chunk)
        self.lowered = traced.lower(lowering_platforms=(platform,))
        self.functions = {str(f.attributes["sym_name"]).strip('"'): f for f in self.lowered.compiler_ir("stablehlo").body}
        self.operations = list(self._inside(self.functions["main"].operation, depth=0))

    def _inside(self, operation, depth):
        """All operations, also of functions that are called, with the number of loops around each."""
        for inner in (inner.operation for region in operation.regions for block in region for inner in block):
            yield inner, depth
            if inner.name == "func.call":
                yield from self._inside(self.functions[str(inner.attributes["callee"])[1:]].operation, depth)
            else:
                yield from self._inside(inner, depth + (inner.name == "stablehlo.while"))

    def count(self, depth):
        """Operations inside so many loops, by name."""
        return collections.Counter(operation.name for operation, d in self.operations if d == depth)

    def moved(self):
        """Gathers, scatters and products in the loop over steps."""
        names = ("gather", "scatter", "dynamic_update_slice", "dot_general", "concatenate")
        return {name: self.count(2)[f"stablehlo.{name}"] for name in names}


@pytest.mark.compiled_fully
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("fleet", [None, jasgd.fleet.power_law(80, 0.7)], ids=["equal speeds", "waiting gradients"])
def test_operations_of_a_step_do_not_grow_with_lanes(platform, fleet):
    """With 8 or 64 lanes the same operations; loops over blocks and steps, and none inside; nothing goes to the host."""
    few, many = (Lowered(optax.sgd(0.1, momentum=0.9), lanes, platform, fleet=fleet) for lanes in (8, 64))
    assert (few.loop.linear, few.loop.stores, many.loop.stores) == (many.loop.linear, fleet is not None, fleet is not None)
    assert few.count(2) == many.count(2)
    assert few.count(2)["stablehlo.while"] == few.count(2)["stablehlo.case"] == few.count(2)["stablehlo.if"] == 0
    assert few.count(3) == many.count(3) == {}
    assert (few.count(0)["stablehlo.while"], few.count(1)["stablehlo.dot_general"]) == (1, 0)
    waiting = int(fleet is not None)
    moved = {"gather": 1 + waiting, "scatter": 1, "dot_general": 1 + waiting, "dynamic_update_slice": 0}
    assert {name: few.moved()[name] for name in moved} == moved
    names = {operation.name for operation, _ in few.operations}
    assert not {name for name in names if any(word in name for word in ("infeed", "outfeed", "send", "recv"))}
    calls = {str(o.attributes["call_target_name"]) for o, _ in few.operations if o.name == "stablehlo.custom_call"}
    assert not {call for call in calls if "callback" in call or "host" in call.lower()}


@pytest.mark.compiled_fully
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_leaves_of_the_parameters_do_not_matter_to_a_step(platform):
    """With 4 or 12 leaves as many gathers, scatters, products: they move one vector."""
    few, many = (Lowered(optax.sgd(0.1, momentum=0.9), 8, platform, leaves=leaves) for leaves in (4, 12))
    assert few.moved() == many.moved()


@pytest.mark.compiled_fully
def test_the_state_is_updated_in_place():
    """All of it is donated, and the compiled loop has no copy of the ring."""
    for fleet in (None, jasgd.fleet.power_law(80, 0.7)):
        lowered = Lowered(optax.sgd(0.1, momentum=0.9), 8, "cpu", fleet=fleet)
        attributes = [str(a) for a in lowered.functions["main"].operation.attributes["arg_attrs"]]
        arrays = jax.tree.leaves(lowered.state)
        assert sum("aliasing_output" in a or "buffer_donor" in a for a in attributes) == len(arrays)
        compiled = lowered.lowered.compile()
        assert compiled.memory_analysis().alias_size_in_bytes >= sum(array.nbytes for array in arrays)
        rows, size = lowered.state.ring[0].shape
        assert f"f32[{rows},{size}]" in compiled.as_text()
        copies = [line for line in compiled.as_text().splitlines() if f"= f32[{rows},{size}]" in line and " copy(" in line]
        assert not copies
