"""Snapshots in a narrower dtype: rounded once, added up in the dtype of the parameters, and alike on every path."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
import jasgd.sweep_config
from jasgd import engine, rules
from jasgd.batches import Group
from jasgd.chunks import chunk_arrays, ring_rows
from jasgd.flat import flattened
from jasgd.grid import grid_of
from jasgd.memory import refuse_if_too_large
from jasgd.plan import plan
from jasgd.runs import runs_of

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(5)
WORKERS = 6
FLEET = jasgd.fleet.power_law(WORKERS, 0.8)
SCHEDULES = {
    "one by one": jasgd.protocols.asynchronous(FLEET, 30),
    "a few": jasgd.protocols.asynchronous(jasgd.fleet.power_law(3, 0.8), 8),
    "gathered": jasgd.protocols.asynchronous(FLEET, 15, wait_for=2),
    "rounds": jasgd.protocols.minibatch(jasgd.fleet.equal(4), 12),
    "rounds at old points": jasgd.protocols.delays(4, 12, jasgd.protocols.uniform_delays(3), every_worker=True),
}


def problem_of(dtype=jnp.float32):
    """Quadratics of which every number is a fraction with few digits: sums are exact, only bfloat16 rounds.

    Points in [1, 4) lie 2^-7 apart in bfloat16, targets 2^-10, so that most gradients are rounded; with steps of 1/8
    parameters are multiples of 2^-13, and exact in single precision.
    """

    def gradient(params, batch):
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) - batch, params)

    def loss(params, batch):
        return 0.5 * sum(jnp.sum((leaf.astype(jnp.float32) - batch) ** 2) for leaf in jax.tree.leaves(params))

    return jasgd.Problem(
        init=lambda key: {"a": jnp.asarray([1.5, 2.25, 3.0], dtype), "b": jnp.full((2, 2), 2.5, dtype)},
        loss=loss,
        gradient=gradient,
        sample=lambda key, worker: 1 + jax.random.randint(key, (), 1, 2**10, jnp.int32) / 2**10 + worker / 8,
        metrics=lambda params: {"loss": loss(params, 1.5), "grad_norm": params["a"][0]},
    )


PROBLEM = problem_of()


@pytest.fixture
def accelerated(monkeypatch):
    """Treat this device as one that pays for every operation, so that linear rules are applied at once."""
    monkeypatch.setattr("jasgd.simulation.launches_cost", lambda: True)


SGD, MOMENTUM = optax.sgd(0.125), optax.sgd(0.0625, momentum=0.5)


@functools.cache
def replayed(rule, schedule, problem):
    """The last point of the slow reference."""
    points = jasgd.reference.replay(problem, rule, SCHEDULES[schedule], key=KEY, snapshot_dtype=jnp.bfloat16)
    return jax.tree.map(np.asarray, points[-1])


def simulated(rule, schedule, lanes, dtype=jnp.bfloat16, problem=PROBLEM):
    """Where a simulation ends."""
    run = jasgd.simulate(problem, rule, SCHEDULES[schedule], key=KEY, lanes=lanes, snapshot_dtype=dtype)
    return jax.tree.map(np.asarray, run.params)


def assert_replayed(rule, schedule, lanes, problem=PROBLEM, atol=0.0):
    """The last point of the slow reference, by default bit for bit."""
    found = simulated(rule, schedule, lanes, problem=problem)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), found, replayed(rule, schedule, problem))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}


@pytest.mark.compiled_fully
def test_rounding_is_seen():
    """Without it, and in another dtype, the same ends elsewhere: the tests below would notice."""
    expected = replayed(SGD, "one by one", PROBLEM)
    for dtype in (None, jnp.float16):
        assert np.abs(simulated(SGD, "one by one", 1, dtype)["a"] - expected["a"]).max() > 1e-4


@pytest.mark.compiled_fully
@pytest.mark.parametrize(
    ("schedule", "lanes"),
    [("one by one", 1), ("one by one", 4), ("gathered", 1), ("gathered", 3), ("rounds", 4), ("rounds at old points", 4)],
)
def test_equals_the_reference(schedule, lanes):
    """One lane, gradients that wait, sums that are gathered, whole rounds at one point and at several: bit for bit."""
    assert_replayed(SGD, schedule, lanes)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("schedule", ["one by one", "gathered"])
def test_all_versions_of_a_step_at_once_equal_the_reference(accelerated, schedule):
    """The ring holds vectors of the dtype; also bit for bit."""
    assert_replayed(SGD, schedule, 4)


@pytest.mark.parametrize(
    ("rule", "lanes"),
    [
        (MOMENTUM, 3),
        (rules.dc_asgd(0.125, 0.04), 1),
        (rules.dana_zero(0.0625, momentum=0.5, num_workers=WORKERS), 3),
    ],
    ids=["momentum", "looks at stale parameters", "sends"],
)
def test_other_rules_equal_the_reference(rule, lanes):
    """What a rule is shown, and where it sends workers, is rounded, too."""
    assert_replayed(rule, "one by one", lanes, atol=1e-6)


def test_momentum_at_once_equals_the_reference(accelerated):
    """Products of matrices instead of one delivery after the other."""
    assert_replayed(MOMENTUM, "one by one", 4, atol=2e-6)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("model", [jasgd.read_models.Updates(probability=0.5), jasgd.read_models.Coordinates(window=2)])
def test_mixtures_of_versions_equal_the_reference(model):
    """A read model mixes rounded versions, and the mixture is rounded."""
    problem = dataclasses.replace(PROBLEM, read_model=model)
    assert_replayed(SGD, "a few", 1, problem=problem)


@pytest.mark.compiled_fully
def test_a_gradient_that_ends_in_short_arithmetic_is_rounded():
    """XLA computes it in single precision and would leave out the last rounding."""
    problem = dataclasses.replace(PROBLEM, gradient=lambda p, batch: jax.tree.map(lambda x: x * batch.astype(x.dtype), p))
    assert_replayed(optax.sgd(0.03125), "a few", 1, problem=problem, atol=1e-6)


@pytest.mark.compiled_fully
def test_a_layout_equals_the_reference():
    """Short snapshots that are cut over devices, here one."""
    mesh = jax.make_mesh((1,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    layout = jasgd.Layout(mesh=mesh, params="devices")
    asked = PROBLEM, SGD, SCHEDULES["gathered"]
    found = jasgd.simulate(*asked, key=KEY, lanes=3, layout=layout, snapshot_dtype=jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, found.params, replayed(SGD, "gathered", PROBLEM))


def state_after(program, lanes, chunks=1):
    """The engine's state after some chunks."""
    compiled = plan(SCHEDULES["one by one"], lanes, chunk_steps=4)
    loop, state = engine.loop_of(program, compiled), engine.init(program, compiled)
    for chunk in range(chunks):
        state = engine.step(loop, program.numbers, KEY, state, chunk_arrays(loop, compiled, chunk))
    return compiled, state


def traced(dtype, rule=None, problem=PROBLEM, params=None):
    params = problem.init(KEY) if params is None else params
    return engine.traced(problem, rule or SGD, params, KEY, snapshot_dtype=dtype)


def test_only_the_ring_changes_its_dtype():
    """Parameters, momentum and sums keep theirs, also as vectors."""
    rule = optax.sgd(0.0625, momentum=0.5)
    for program in (traced(jnp.float16, rule), flattened(traced(jnp.float16, rule)).program):
        _, state = state_after(program, 4)
        assert {leaf.dtype for leaf in jax.tree.leaves(state.ring)} == {jnp.dtype(jnp.float16)}
        others = dataclasses.replace(state, ring=None)
        assert {leaf.dtype for leaf in jax.tree.leaves(others)} == {jnp.dtype(jnp.float32)}


@pytest.mark.compiled_fully
@pytest.mark.parametrize("lanes", [1, 4])
def test_the_ring_is_never_converted_as_a_whole(lanes):
    """Not even on a CPU, where XLA has no operations on bfloat16: a step would take as long as the ring is large."""
    program, compiled = traced(jnp.bfloat16), plan(SCHEDULES["one by one"], lanes, chunk_steps=4)
    loop, state = engine.loop_of(program, compiled), engine.init(program, compiled)
    text = engine.step.lower(loop, program.numbers, KEY, state, chunk_arrays(loop, compiled, 0)).compile().as_text()
    rows = ring_rows(compiled)
    assert f"u16[{rows},3]" in text
    assert f"f32[{rows},3]" not in text


@pytest.mark.compiled_fully
def test_the_dtype_of_the_parameters_is_no_other_program():
    """Asked for or not, programs and states are equal, and nothing is converted to anything shorter."""
    one, two, three = traced(None), traced(jnp.float32), traced("bfloat16")
    assert two.snapshot_dtype is None
    assert two.snapshots is two.params
    compiled = plan(SCHEDULES["one by one"], 4)
    loops = [engine.loop_of(program, compiled) for program in (one, two, three)]
    assert loops[0] == loops[1] != loops[2]
    chunk = chunk_arrays(loops[0], compiled, 0)
    texts = [engine.step.lower(loops[0], p.numbers, KEY, engine.init(p, compiled), chunk).as_text() for p in (one, two)]
    assert texts[0] == texts[1]
    assert "bf16" not in texts[0]
    assert texts[0].count("optimization_barrier") == 1  # of the samples


@pytest.mark.compiled_fully
def test_small_updates_are_not_lost():
    """A thousand steps of 2^-12 from 1, where bfloat16 cannot tell one from nothing."""
    problem = dataclasses.replace(
        PROBLEM, init=lambda key: {"a": jnp.ones(2)}, gradient=lambda p, batch: jax.tree.map(jnp.ones_like, p)
    )
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 1024)
    asked = problem, optax.sgd(2**-12), schedule
    kept = jasgd.simulate(*asked, key=KEY, snapshot_dtype=jnp.bfloat16).params["a"]
    lost = jasgd.simulate(*asked, key=KEY, params={"a": jnp.ones(2, jnp.bfloat16)}).params["a"]
    np.testing.assert_array_equal(kept, 0.75)
    np.testing.assert_array_equal(lost.astype(jnp.float32), 1.0)


@pytest.mark.compiled_fully
def test_what_is_recorded():
    """Metrics of rounded versions, in the dtype of the parameters; links carry half the bytes; the end is not rounded."""
    full, half = (
        jasgd.simulate(PROBLEM, SGD, SCHEDULES["one by one"], key=KEY, snapshot_dtype=dtype)
        for dtype in (None, jnp.bfloat16)
    )
    end = half.params["a"][0]
    assert half.history["grad_norm"].dtype == np.float32
    assert half.history["grad_norm"][-1] == end.astype(jnp.bfloat16).astype(jnp.float32) != end
    for name in ("uploaded_bytes", "downloaded_bytes"):
        assert full.history[name][-1] == 2 * half.history[name][-1] > 0
    assert [run.provenance["snapshot_dtype"] for run in (full, half)] == ["null", "bfloat16"]


@pytest.mark.compiled_fully
def test_a_model_in_bfloat16_with_parameters_in_single_precision():
    """Its own parameters are short; the server is given longer ones."""
    problem, params = problem_of(jnp.bfloat16), PROBLEM.init(KEY)
    given = jasgd.simulate(problem, SGD, SCHEDULES["one by one"], key=KEY, params=params, snapshot_dtype=jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, given.params, replayed(SGD, "one by one", PROBLEM))


def test_memory_is_estimated_with_the_dtype(monkeypatch):
    """The ring, which is most of it, halves; the refusal says so."""
    problem, dim = jasgd.problems.quadratic(2**17), 2**17
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(256), 512)
    compiled, sizes = plan(schedule, 1), []
    monkeypatch.setattr("jasgd.memory.free_memory", lambda: 0.0)
    for dtype, mib in ((None, "0.50"), (jnp.bfloat16, "0.25")):
        program = engine.traced(problem, optax.sgd(0.1), problem.init(KEY), KEY, snapshot_dtype=dtype)
        with pytest.raises(MemoryError, match=rf"256 snapshots of {mib} MiB .* only in snapshots \(`snapshot_dtype`\)"):
            refuse_if_too_large(program, compiled)
    for dtype in (None, jnp.bfloat16):
        runs = runs_of(problem, optax.sgd(0.1), schedule, None, grid_of(None), [0], None, KEY, None, None, dtype)
        sizes.append(Group(runs, 1).bytes_per_run())
    assert sizes[0] - sizes[1] > 0.95 * ring_rows(compiled) * dim * 2


@pytest.mark.compiled_fully
@pytest.mark.parametrize("at_once", [False, True])
def test_a_sweep_equals_single_runs(at_once, monkeypatch):
    """Each run on its own gives the same numbers; also where lanes of several runs are applied at once, as vectors."""
    pytest.importorskip("xarray")
    monkeypatch.setattr("jasgd.runs.launches_cost", lambda: at_once)
    schedule, rates = SCHEDULES["one by one"], [0.0625, 0.125]
    common = {"every": 10, "snapshot_dtype": jnp.bfloat16}
    found = jasgd.sweep(PROBLEM, optax.sgd, schedule, grid={"learning_rate": rates}, seeds=2, key=KEY, **common)
    assert found.attrs["snapshot_dtype"] == "bfloat16"
    assert ("of 1 lanes" in found.attrs["batches"]) != at_once
    for rate in rates:
        for seed in range(2):
            alone = jasgd.simulate(PROBLEM, optax.sgd(rate), schedule, key=jax.random.fold_in(KEY, seed), **common)
            mine = found.sel(learning_rate=rate, seed=seed)
            np.testing.assert_array_equal(mine["grad_norm"], alone.history["grad_norm"])
            np.testing.assert_allclose(mine["loss"], alone.history["loss"], rtol=1e-6)


def test_a_folder_of_another_dtype_is_refused_by_a_sweep(tmp_path):
    """Its runs are others."""
    pytest.importorskip("xarray")
    pytest.importorskip("orbax.checkpoint")
    asked = PROBLEM, SGD, SCHEDULES["one by one"]
    jasgd.sweep(*asked, key=KEY, resume=tmp_path, snapshot_dtype="bfloat16")
    with pytest.raises(ValueError, match="holds another sweep: its `snapshot_dtype` is 'bfloat16', not None"):
        jasgd.sweep(*asked, key=KEY, resume=tmp_path)


@pytest.mark.compiled_fully
def test_a_resumed_simulation_continues_bit_for_bit(tmp_path, monkeypatch):
    """From its own checkpoint; that of another dtype is refused."""
    pytest.importorskip("orbax.checkpoint")
    asked = PROBLEM, optax.sgd(0.0625, momentum=0.5), SCHEDULES["one by one"]
    arguments = {"key": KEY, "every": 2, "lanes": 4, "snapshot_dtype": jnp.bfloat16}
    monkeypatch.setattr("jasgd.simulation.steps_per_chunk", lambda *args: 4)
    whole = jasgd.simulate(*asked, **arguments)
    step, calls = engine.step, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "step", dies)
        with pytest.raises(KeyboardInterrupt):
            jasgd.simulate(*asked, **arguments, resume=tmp_path, save_every=0.0)
    for other in (None, jnp.float16):
        with pytest.warns(UserWarning, match="another computation"), pytest.raises(ValueError, match="another computation"):
            jasgd.simulate(*asked, **(arguments | {"snapshot_dtype": other}), resume=tmp_path)
    resumed = jasgd.simulate(*asked, **arguments, resume=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, (whole.params, dict(whole.history)), (resumed.params, dict(resumed.history)))


def test_configurations_name_it(tmp_path):
    """For all sweeps of a file, or for one."""
    path = tmp_path / "two.toml"
    path.write_text(
        """
        key = 0
        snapshot_dtype = "bfloat16"
        problem = {name = "quadratic", dim = 10}
        fleet = {name = "equal", num_workers = 4}
        [[sweep]]
        label = "short"
        protocol = {name = "asynchronous", updates = 10}
        rule = {name = "sgd", learning_rate = 0.1}
        [[sweep]]
        label = "shorter"
        snapshot_dtype = "float16"
        protocol = {name = "asynchronous", updates = 10}
        rule = {name = "sgd", learning_rate = 0.1}
        """
    )
    found = jasgd.sweep_config.read_config(path)
    assert [arguments["snapshot_dtype"] for arguments in found.values()] == ["bfloat16", "float16"]


def int_gradient(params, batch):
    return jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.int32), params)


def only_single(params, batch):
    if params["a"].dtype != jnp.float32:
        raise TypeError("this model wants float32")
    return params


@pytest.mark.parametrize(
    ("dtype", "problem", "message"),
    [
        (jnp.int8, PROBLEM, r"`snapshot_dtype` must be a dtype of floating point such as jnp.bfloat16, got "),
        ("half", PROBLEM, None),
        ("bfloat", PROBLEM, r"`snapshot_dtype` must be a dtype of floating point such as jnp.bfloat16, got 'bfloat'\."),
        (True, PROBLEM, r"`snapshot_dtype` must be a dtype of floating point such as jnp.bfloat16, got True\."),
        (np.float64, PROBLEM, r"must not be wider than the parameters, got float64 where params\['a'\] is float32"),
        (jnp.float32, problem_of(jnp.bfloat16), r"got float32 where params\['a'\] is bfloat16; give `params` in float32"),
        (
            jnp.float16,
            dataclasses.replace(PROBLEM, init=lambda key: {"a": jnp.full(2, 1e5)}),
            "`snapshot_dtype` is float16, whose largest number the parameters exceed at the start",
        ),
        (
            jnp.bfloat16,
            dataclasses.replace(PROBLEM, gradient=int_gradient),
            r"the gradient of params\['a'\] must be bfloat16\[3\], got int32\[3\]",
        ),
        (
            jnp.bfloat16,
            dataclasses.replace(PROBLEM, gradient=only_single),
            "this model wants float32; with `snapshot_dtype` its parameters are bfloat16",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(dtype, problem, message):
    """Before anything is compiled."""
    if message is None:
        assert traced(dtype).snapshot_dtype == jnp.float16
        return
    with pytest.raises((TypeError, ValueError), match=message):
        traced(dtype, problem=problem)
