"""`delayed` in an ordinary loop computes what the simulator computes, and is a well-behaved Optax transformation."""

import dataclasses
import os
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import _held
from jasgd.delays import calls, delayed

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(3)
QUADRATIC = jasgd.problems.quadratic(6, noise=0.1)
FLEET = jasgd.fleet.power_law(5, 0.8)
SCHEDULES = {
    "own worker": jasgd.protocols.asynchronous(FLEET, 40),
    "exponential times": jasgd.protocols.asynchronous(jasgd.fleet.exponential([1.0, 2.0, 4.0]), 40, seed=1),
    "lognormal times": jasgd.protocols.asynchronous(jasgd.fleet.lognormal([1.0, 2.0, 4.0], 1.5), 40, seed=2),
    "random assignment": jasgd.protocols.asynchronous(FLEET, 40, assignment="random"),
    "waiting for 2": jasgd.protocols.asynchronous(FLEET, 40, wait_for=2),
    "dropping by age": jasgd.protocols.asynchronous(FLEET, 40, max_delay=3),
    "minibatch": jasgd.protocols.minibatch(FLEET, 40),
    "drawn delays of everybody": jasgd.protocols.delays(3, 40, jasgd.protocols.uniform_delays(6), every_worker=True),
}


def descend(tx, params, gradient, steps, look=lambda state: state.version):
    """The loop of any user: all points, a look at each state, and the last state; gradient(params, state)."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient(params, state), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, look(state))

    loop = jax.jit(lambda params, state: jax.lax.scan(step, (params, state), length=steps))
    (_, state), (points, looks) = loop(params, tx.init(params))
    return points, looks, state


def train(problem, tx, steps, **look):
    """The same with the data that the state asks for."""
    init_key, job_key = jax.random.split(KEY)

    def gradient(params, state):
        worker, job = optax.tree.get(state, "next_worker"), optax.tree.get(state, "next_job")
        batch = problem.sample(jasgd.job_key(job_key, worker, job), worker)
        return problem.gradient(jasgd.rules.sent_params(state, params), batch)

    return descend(tx, problem.init(init_key), gradient, steps, **look)


def assert_close(actual, expected):
    """To a few hundred roundings of the leaf's own precision."""
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=300 * jnp.finfo(a.dtype).eps * max(1.0, np.abs(b).max()))


def assert_same_bits(actual, expected):
    """Trees of equal structure, dtype and bits."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def recording(inner, names=("worker", "delay", "step", "duration", "time", "apply")):
    """The same optimizer, with the extra arguments of its last call in its state."""

    def update(gradients, state, params=None, **extra):
        updates, inner_state = inner.update(gradients, state[0], params)
        return updates, (inner_state, {name: jnp.asarray(extra[name], float) for name in names})

    return optax.GradientTransformationExtraArgs(lambda p: (inner.init(p), {name: jnp.zeros(()) for name in names}), update)


# A schedule


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"exponential times"}))
def test_a_loop_with_a_schedule_visits_all_versions_of_the_simulation(name):
    """Every version equals the reference's, on workers of any speed and under any protocol."""
    schedule, rule = SCHEDULES[name], optax.sgd(0.05, momentum=0.5)
    points, versions, _ = train(QUADRATIC, delayed(rule, schedule=schedule), calls(schedule))
    assert np.unique(versions).tolist() == list(range(versions[0], schedule.updates + 1))
    expected = np.stack(jasgd.reference.replay(QUADRATIC, rule, schedule, key=KEY))
    assert_close(points, expected[versions])


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.floats(0.1, 20.0), min_size=1, max_size=6),
    policy=st.sampled_from(
        [
            {},
            {"assignment": "random"},
            {"assignment": "shuffled", "parallel": True},
            {"wait_for": 1, "dispatch": "before"},
            {"max_delay": 4, "age_in": "updates"},
            "minibatch",
            "delays",
        ]
    ),
    seed=st.integers(0, 5),
)
def test_slots_hold_the_gradient_that_is_used(times, policy, seed):
    """Replayed in plain Python: every row finds, in its slot, the job and the version that it means."""
    fleet = jasgd.fleet.exponential(times)
    if policy == "minibatch":
        schedule = jasgd.protocols.minibatch(fleet, 20, seed=seed)
    elif policy == "delays":
        schedule = jasgd.protocols.delays(
            len(times), 20, jasgd.protocols.geometric_delays(3.0), every_worker=True, seed=seed
        )
    else:
        schedule = jasgd.protocols.asynchronous(fleet, 30, seed=seed, **policy)
    table = _held.tables(schedule)
    assert len(table.slot) == calls(schedule) + 1
    slots, version, rows = {}, 0, []
    for worker, job, slot, delivers in zip(table.worker, table.job, table.slot, table.delivers, strict=True):
        slots[slot] = (worker, job, version)
        if delivers:
            rows += [slots[place] for place in table.row_slot[table.first[version] : table.first[version + 1]]]
            version += 1
    assert version == schedule.updates
    assert len(slots) <= table.slots
    assert rows == list(zip(schedule.worker, schedule.job, schedule.read, strict=True))


def test_a_table_that_would_lose_a_gradient_is_refused():
    """One slot is too few for two workers: the host notices, since the device would not."""
    table = _held.tables(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 10))
    computed, used = np.arange(10), np.arange(1, 11)
    _held._validate(table, computed, used)
    with pytest.raises(RuntimeError, match="would be lost"):
        _held._validate(table._replace(slot=0 * table.slot, row_slot=0 * table.row_slot), computed, used)


@pytest.mark.parametrize(("workers", "updates"), [(1, 10), (4, 10), (7, 30)])
def test_equal_workers_need_one_call_per_update_and_one_less_per_worker(workers, updates):
    """K updates take K + n - 1 calls: the first n - 1 deliver nothing, each later one delivers one row."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(workers), updates)
    assert calls(schedule) == updates + workers - 1
    assert _held.tables(schedule).delivers.tolist() == [False] * (workers - 1) + [True] * updates + [False]
    assert _held.tables(schedule).slots == workers


def test_after_the_last_call_nothing_moves():
    """Updates are zero, the inner state and the version stay, however often one calls."""
    schedule = SCHEDULES["minibatch"]
    tx = delayed(optax.adam(0.1), schedule=schedule)
    points, seen, _ = train(QUADRATIC, tx, calls(schedule) + 5, look=lambda state: (state.version, state.inner_state))
    for leaf in jax.tree.leaves((points, seen)):
        np.testing.assert_array_equal(leaf[-5:], np.broadcast_to(leaf[-6], leaf[-5:].shape))
    assert int(seen[0][-1]) == schedule.updates


@pytest.mark.parametrize("name", ["exponential times", "minibatch", "drawn delays of everybody"])
def test_the_optimizer_is_told_what_the_schedule_says(name):
    """Worker, delay, duration, time and step of the row that steps, also where it sees a sum of several."""
    schedule, names = SCHEDULES[name], ("worker", "delay", "duration", "time", "step")
    tx = delayed(recording(optax.sgd(0.1), names), schedule=schedule)
    _, (versions, told), _ = train(QUADRATIC, tx, calls(schedule), look=lambda state: (state.version, state.inner_state[1]))
    stepped = np.flatnonzero(np.diff(versions, prepend=0))
    for column in names[:-1]:
        assert_close(told[column][stepped], getattr(schedule, column)[schedule.apply].astype(np.float32))
    np.testing.assert_array_equal(told["step"][stepped], np.arange(schedule.updates))


def every_row(learning_rate):
    """Asks for `apply`: a step with the sum of gradients, each damped by its own delay."""

    def update(gradients, state, params=None, *, delay, apply, **extra):
        total = jax.tree.map(lambda s, g: s + g / (1 + delay).astype(g.dtype), state, gradients)
        step = jax.tree.map(lambda s: jnp.where(apply, -learning_rate * s, 0), total)
        return step, jax.tree.map(lambda s: jnp.where(apply, 0, s), total)

    return optax.GradientTransformationExtraArgs(optax.tree.zeros_like, update)


@pytest.mark.parametrize("name", ["own worker", "drawn delays of everybody"])
def test_an_optimizer_that_asks_for_apply_sees_every_row(name):
    """Gradients that are gathered come one by one, each with its own delay, as in the simulation."""
    schedule = SCHEDULES[name]
    points, _, _ = train(QUADRATIC, delayed(every_row(0.1), schedule=schedule), calls(schedule))
    assert_close(points[-1], jasgd.reference.replay(QUADRATIC, every_row(0.1), schedule, key=KEY)[-1])


def test_weights_multiply_gradients():
    """A row of weight w counts w times, also where no rows are gathered."""
    weight = np.linspace(0.0, 2.0, 40)
    schedule = dataclasses.replace(SCHEDULES["own worker"], weight=weight)
    points, _, _ = train(QUADRATIC, delayed(optax.sgd(0.1), schedule=schedule), calls(schedule))
    assert_close(points[-1], jasgd.reference.replay(QUADRATIC, optax.sgd(0.1), schedule, key=KEY)[-1])


def test_half_precision_gradients_are_summed_in_single_precision():
    """1 + 2^-9 + 2^-9 is 1 in bfloat16 if every sum is rounded, and 1 + 2^-8 + ... if only the result is."""
    schedule = jasgd.protocols.minibatch(jasgd.fleet.fixed([1.0, 2.0, 3.0]), 1)
    schedule = dataclasses.replace(schedule, weight=np.ones(3))
    tx = delayed(optax.identity(), schedule=schedule)
    params = jnp.zeros(1, jnp.bfloat16)
    state = tx.init(params)
    for gradient in (1.0, 2.0**-8, 2.0**-8):
        updates, state = tx.update(jnp.full(1, gradient, jnp.bfloat16), state, params)
    assert updates.dtype == jnp.bfloat16
    assert float(updates[0]) == 1 + 2.0**-7


COMPENSATED = jasgd.rules.scale_by_delay_compensation(0.5)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("own worker", jasgd.rules.dc_asgd(0.05, strength=0.5)),
        ("drawn delays of everybody", optax.chain(COMPENSATED, jasgd.rules.weight_prediction(0.02, 0.5, expected_delay=4))),
    ],
)
def test_stale_params_are_the_point_of_the_gradient(name, rule):
    """Rules that compare with the snapshot, or send workers elsewhere than to the server's point, equal the reference."""
    schedule = SCHEDULES[name]
    points, _, _ = train(QUADRATIC, delayed(rule, schedule=schedule, stale_params=True), calls(schedule))
    assert_close(points[-1], jasgd.reference.replay(QUADRATIC, rule, schedule, key=KEY)[-1])


# Flax


def test_an_nnx_optimizer_with_a_schedule_equals_the_simulation():
    """`nnx.Optimizer(model, delayed(...))` in the usual loop ends at the parameters of `simulate`."""
    schedule, rule = SCHEDULES["own worker"], optax.sgd(0.1, momentum=0.5)
    init_key, job_key = jax.random.split(KEY)

    def sample(key, worker):
        x = jax.random.normal(key, (8, 3))
        return x, x.sum(axis=1, keepdims=True) + worker

    def loss(model, batch):
        return jnp.mean((model(batch[0]) - batch[1]) ** 2)

    graph = nnx.graphdef(nnx.Linear(3, 1, rngs=nnx.Rngs(0)))
    problem = jasgd.Problem(
        init=lambda key: nnx.state(nnx.Linear(3, 1, rngs=nnx.Rngs(params=key))),
        loss=lambda params, batch: loss(nnx.merge(graph, params), batch),
        sample=sample,
        metrics=lambda params: {"loss": jnp.zeros(()), "grad_norm": jnp.zeros(())},
    )
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(params=init_key))
    optimizer = nnx.Optimizer(model, delayed(rule, schedule=schedule), wrt=nnx.Param)

    @nnx.jit
    def train_step(model, optimizer):
        worker, job = optimizer.opt_state.next_worker[...], optimizer.opt_state.next_job[...]
        batch = problem.sample(jasgd.job_key(job_key, worker, job), worker)
        optimizer.update(model, nnx.grad(loss)(model, batch))

    for _ in range(calls(schedule)):
        train_step(model, optimizer)
    assert int(optimizer.opt_state.version[...]) == schedule.updates
    assert_close(nnx.state(model), jasgd.simulate(problem, rule, schedule, key=KEY, lanes=1).params)


def test_a_linen_loop_with_a_schedule_equals_the_simulation():
    """A Flax classifier on sharded data, gradients gathered from all workers."""
    data = jasgd.problems.Dataset(np.eye(12, 4, dtype=np.float32), np.arange(12) % 3)
    problem = jasgd.problems.classification(nn.Dense(3), 3, data=data, batch=2)
    schedule, rule = jasgd.protocols.minibatch(jasgd.fleet.power_law(3, 1.0), 20), optax.sgd(0.1, momentum=0.5)
    points, _, _ = train(problem, delayed(rule, schedule=schedule), calls(schedule))
    run = jasgd.simulate(problem, rule, schedule, key=KEY, lanes=1)
    assert_close(jax.tree.map(lambda leaf: leaf[-1], points), run.params)


# One delay for all


def test_a_constant_delay_is_asynchronous_sgd_with_workers_of_equal_speed():
    """With d + 1 = 4 workers: the same versions, and the optimizer is told the same, row by row."""
    delay, rule = 3, optax.sgd(0.05, momentum=0.5)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(delay + 1), 20)
    tx = delayed(recording(rule), delay=delay)
    points, told, state = train(QUADRATIC, tx, 20 + delay, look=lambda state: state.inner_state[1])
    assert_close(points[delay:], np.stack(jasgd.reference.replay(QUADRATIC, rule, schedule, key=KEY))[1:])
    assert int(state.version) == 20
    for name in ("worker", "delay", "duration", "time", "apply"):
        np.testing.assert_array_equal(told[name][delay:], getattr(schedule, name))
    np.testing.assert_array_equal(told["step"][delay:], schedule.version)


def test_nothing_moves_before_the_first_delivery():
    """In the first d calls updates are zero, and Adam does not count."""
    points, counts, _ = train(
        QUADRATIC, delayed(optax.adam(0.1), delay=3), 6, look=lambda s: optax.tree.get(s.inner_state, "count")
    )
    assert counts.tolist() == [0, 0, 0, 1, 2, 3]
    start = QUADRATIC.init(jax.random.split(KEY)[0])
    assert_same_bits(points[2], start)
    assert not np.array_equal(points[3], start)


@pytest.mark.compiled_fully
@pytest.mark.parametrize(
    ("options", "compiled"),
    [
        ({"delay": 0}, True),
        ({"delay": 0}, False),
        ({"delay": {"a": 0, "b": 0}}, True),
        ({"delay": lambda t: 0, "max_delay": 0}, True),
    ],
)
def test_zero_delay_is_the_optimizer_bit_for_bit(options, compiled):
    """The same updates and the same inner state, with no ring, compiled or not."""
    plain, tx = optax.adamw(0.1, weight_decay=0.1), delayed(optax.adamw(0.1, weight_decay=0.1), **options)
    params = {"a": jnp.linspace(-1, 1, 7, dtype=jnp.bfloat16), "b": jnp.ones((2, 3))}
    states = plain.init(params), tx.init(params)
    assert all(rows.size == 0 for rows in jax.tree.leaves(states[1].held_gradients))
    for _ in range(3):
        gradient = jax.tree.map(lambda p: jnp.sin(3 * p), params)
        expected, inner_state = (jax.jit(plain.update) if compiled else plain.update)(gradient, states[0], params)
        updates, state = (jax.jit(tx.update) if compiled else tx.update)(gradient, states[1], params)
        assert_same_bits((updates, state.inner_state), (expected, inner_state))
        params, states = optax.apply_updates(params, updates), (inner_state, state)


# Delays that are drawn


def test_drawn_delays_equal_a_plain_loop():
    """Ten lines of NumPy; a gradient travels with its noise and may be used twice or never."""
    rng = np.random.default_rng(0)
    noise, delays = rng.normal(size=(30, 4)), rng.integers(0, 6, 30)
    x, gradients, expected = np.ones(4), [], []
    for t in range(30):
        gradients.append(x + noise[t])
        x = x - 0.1 * gradients[max(t - delays[t], 0)]
        expected.append(x)
    tx = delayed(optax.sgd(0.1), delay=lambda t: jnp.asarray(delays)[t], max_delay=5)
    points, versions, _ = descend(tx, jnp.ones(4), lambda p, s: p + jnp.asarray(noise, p.dtype)[s.calls], 30)
    assert_close(points, np.stack(expected))
    assert versions.tolist() == list(range(1, 31))


def test_drawn_delays_equal_a_schedule_of_them():
    """Without noise the same versions as `protocols.delays`; the optimizer is told the same, but for the worker."""

    def draw(step):
        return jax.random.randint(jax.random.fold_in(KEY, step), (), 0, 8)

    schedule = jasgd.protocols.delays(1, 30, np.asarray(jax.vmap(draw)(jnp.arange(30))))
    problem, rule = jasgd.problems.quadratic(6), optax.sgd(0.05, momentum=0.5)
    names = ("delay", "duration", "time", "apply", "step")
    tx = delayed(recording(rule, names), delay=draw, max_delay=7)
    start = problem.init(jax.random.split(KEY)[0])
    batch = problem.sample(KEY, jnp.int32(0))
    points, told, _ = descend(tx, start, lambda p, s: problem.gradient(p, batch), 30, lambda s: s.inner_state[1])
    assert_close(points, np.stack(jasgd.reference.replay(problem, rule, schedule, key=KEY))[1:])
    for name in names[:-1]:
        np.testing.assert_array_equal(told[name], getattr(schedule, name))
    np.testing.assert_array_equal(told["step"], schedule.version)


@pytest.mark.parametrize("bad", [-1, 4])
def test_a_drawn_delay_out_of_range_makes_nan(bad):
    """From the step that draws it on; nothing is clipped in silence."""
    tx = delayed(optax.sgd(0.1), delay=lambda t: jnp.where(t == 6, bad, 3), max_delay=3)
    points, _, _ = descend(tx, jnp.ones(2), lambda p, s: p, 9)
    np.testing.assert_array_equal(np.isnan(points).all(axis=1), np.arange(9) >= 6)
    assert np.isfinite(points[:6]).all()


def test_stale_params_of_drawn_delays_are_where_the_gradient_was_taken():
    """The gradient is the parameters themselves, so both must be equal."""

    def update(gradients, state, params=None, *, stale_params, **extra):
        return jax.tree.map(lambda g: -0.1 * g, gradients), state + jnp.sum(jnp.abs(gradients - stale_params))

    rule = optax.GradientTransformationExtraArgs(lambda p: jnp.zeros(()), update)
    tx = delayed(rule, delay=lambda t: t % 4, max_delay=3, stale_params=True)
    _, _, state = descend(tx, jnp.arange(3.0), lambda p, s: p, 12)
    assert float(state.inner_state) == 0.0


# A delay for every leaf


def test_every_leaf_has_its_own_delay():
    """A plain loop per leaf; what is not there yet counts as zero. A number may stand for a part of the tree."""
    delays = {"stage": 2, "head": {"kernel": 0, "bias": 3}}
    params = {
        "stage": {"kernel": jnp.ones(2), "bias": jnp.full(3, 2.0)},
        "head": {"kernel": jnp.ones(1), "bias": jnp.ones(2)},
    }
    points, _, state = descend(
        delayed(recording(optax.sgd(0.1), ("step",)), delay=delays), params, lambda p, s: p, 12, lambda s: s.inner_state[1]
    )
    for part, leaf, delay in [("stage", "kernel", 2), ("stage", "bias", 2), ("head", "kernel", 0), ("head", "bias", 3)]:
        path = [np.asarray(params[part][leaf], np.float64)]
        for t in range(12):
            path.append(path[-1] - (0.1 * path[t - delay] if t >= delay else 0.0))
        assert_close(points[part][leaf], np.stack(path[1:]))
    assert (int(state.version), float(state.inner_state[1]["step"])) == (12, 11.0)


@pytest.mark.compiled_fully
@pytest.mark.parametrize(
    "how", [{"delay": 2}, {"delay": lambda step: jnp.minimum(step, 2), "max_delay": 2}, {"delay": {"w": 2}}]
)
def test_variables_of_nnx_are_delayed_like_arrays(how):
    """A loop over `nnx.state` without `nnx.Optimizer`: gradients, momentum and updates are variables there."""
    tx, path = delayed(optax.sgd(0.1, momentum=0.5), **how), []
    update = jax.jit(tx.update)
    for params in ({"w": jnp.ones(2)}, nnx.State({"w": nnx.Param(jnp.ones(2))})):
        state, structure = tx.init(params), jax.tree.structure(params)
        for _ in range(5):
            updates, state = update(params, state, params)
            params = optax.apply_updates(params, updates)
            assert jax.tree.structure(params) == jax.tree.structure(updates) == structure
        path.append(jax.tree.leaves(params)[0])
    np.testing.assert_array_equal(*path)


def test_a_dict_of_delays_fits_an_nnx_state():
    """Paths are compared, not kinds of containers."""
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    held = delayed(optax.sgd(0.1), delay={"kernel": 1, "bias": 0}).init(state).held_gradients
    assert (held["kernel"].shape, held["bias"].shape) == ((2, 2, 3), (0, 3))
    like_state = delayed(optax.sgd(0.1), delay=jax.tree.map(lambda _: 1, state)).init(state).held_gradients
    assert like_state["bias"].shape == (2, 3)


@pytest.mark.parametrize(
    ("delay", "message"),
    [
        ({"a": 1}, r"`delay` has no number for params\['b'\]"),
        ({"a": 1, "b": 2, "c": 3}, r"delay\['c'\] belongs to no leaf"),
        ({"a": {"x": 1}, "b": 2}, r"delay\['a'\]\['x'\] belongs to no leaf"),
    ],
)
def test_a_tree_that_does_not_match_is_refused(delay, message):
    """With the leaf that has no delay, or the delay that has no leaf."""
    with pytest.raises(ValueError, match=message):
        delayed(optax.sgd(0.1), delay=delay).init({"a": jnp.ones(2), "b": jnp.ones(3)})


# A transformation like others

OPTIONS = {
    "constant": {"delay": 2},
    "drawn": {"delay": lambda t: t % 3, "max_delay": 2, "stale_params": True},
    "leaves": {"delay": {"a": 2, "b": 0}},
    "schedule": {"schedule": SCHEDULES["own worker"], "stale_params": True},
    "gathered": {"schedule": SCHEDULES["minibatch"]},
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_state_keeps_tree_shapes_and_dtypes(name, dtype):
    """From abstract shapes on, and updates leave with the dtype of the gradients; also inside a chain."""
    with jax.enable_x64(dtype == "float64"):
        tx = optax.chain(optax.clip_by_global_norm(1.0), delayed(optax.sgd(0.1, momentum=0.9), **OPTIONS[name]))
        params = {"a": jax.ShapeDtypeStruct((2, 3), dtype), "b": jax.ShapeDtypeStruct((), dtype)}
        state = jax.eval_shape(tx.init, params)
        updates, after = jax.eval_shape(tx.update, params, state, params)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), updates) == jax.tree.map(lambda p: (p.shape, p.dtype), params)


def test_many_seeds_at_once():
    """Under vmap every copy does what it does alone."""
    tx = delayed(optax.sgd(0.1, momentum=0.9), **OPTIONS["gathered"])
    starts = {"a": jnp.linspace(-1.0, 1.0, 6).reshape(3, 2), "b": jnp.arange(3.0)}

    def run(start):
        return descend(tx, start, lambda p, s: jax.tree.map(jnp.sin, p), 12)[0]

    assert_close(jax.vmap(run)(starts), jax.lax.map(run, starts))


@pytest.mark.compiled_fully
@pytest.mark.parametrize("name", OPTIONS)
def test_the_ring_is_updated_in_place(name):
    """With a donated state, a compiled loop needs no second ring."""
    params = {"a": jnp.ones(50_000), "b": jnp.ones(())}
    tx = delayed(optax.sgd(0.1), **OPTIONS[name])

    def step(_, carry):
        updates, state = tx.update(carry[0], carry[1], carry[0])
        return optax.apply_updates(carry[0], updates), state

    loop = jax.jit(lambda *carry: jax.lax.fori_loop(0, 10, step, carry), donate_argnums=(0, 1))
    state = tx.init(params)
    memory = loop.lower(params, state).compile().memory_analysis()
    assert memory.temp_size_in_bytes < state.held_gradients["a"].nbytes
    assert memory.alias_size_in_bytes >= state.held_gradients["a"].nbytes
    loop(params, state)


def test_extra_arguments_of_the_caller_pass_through():
    """What is not known here is handed on; `worker` of drawn delays only if the caller gives it."""

    def update(gradients, state, params=None, *, value, worker, **extra):
        return jax.tree.map(lambda g: g * value + worker, gradients), state

    rule = optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
    params = jnp.ones(2)
    constant, drawn = delayed(rule, delay=0), delayed(rule, delay=lambda t: 0, max_delay=1)
    assert float(constant.update(params, constant.init(params), params, value=3.0, worker=9)[0][0]) == 3.0
    assert float(drawn.update(params, drawn.init(params), params, value=3.0, worker=9)[0][0]) == 12.0
    with pytest.raises(TypeError, match="worker"):
        drawn.update(params, drawn.init(params), params, value=3.0)


@pytest.mark.parametrize("name", OPTIONS)
def test_optax_finds_what_is_like_the_parameters(name):
    """`optax.tree.map_params` maps the rings leaf by leaf, e.g. to shardings."""
    tx, params = delayed(optax.adam(0.1), **OPTIONS[name]), {"a": jnp.ones(2), "b": jnp.ones(3)}
    mapped = optax.tree_map_params(tx, lambda _, name: name, tx.init(params), {"a": "A", "b": "B"})
    assert mapped.held_gradients == {"a": "A", "b": "B"}
    assert mapped.held_params in (None, {"a": "A", "b": "B"})


def test_sharded_parameters_stay_sharded():
    """On eight devices: plain arrays, and nnx variables that prescribe their sharding."""
    script = """
import jax, jax.numpy as jnp, numpy as np, optax, jasgd
from flax import nnx
from jasgd.delays import delayed
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
start = np.arange(32, dtype=np.float32).reshape(8, 4)
schedule = jasgd.protocols.minibatch(jasgd.fleet.equal(3), 5)

def train(tx, params):
    state = tx.init(params)
    step = jax.jit(lambda p, s: tx.update(p, s, p), donate_argnums=1)
    for _ in range(4):
        updates, state = step(params, state)
        params = optax.apply_updates(params, updates)
    return params, state

for kind, options in ((AxisType.Auto, {"delay": 2, "stale_params": True}), (AxisType.Explicit, {"schedule": schedule})):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind))
    with jax.set_mesh(mesh):
        tx = delayed(optax.sgd(0.1), **options)
        sharded, state = train(tx, jax.device_put(start, NamedSharding(mesh, P("x", "y"))))
        assert sharded.sharding.spec == P("x", "y")
        assert state.held_gradients.sharding.spec == P(None, "x", "y"), state.held_gradients.sharding
        np.testing.assert_allclose(np.asarray(sharded), np.asarray(train(tx, jnp.asarray(start))[0]), rtol=1e-6)
        init = nnx.with_partitioning(nnx.initializers.ones, (None, "x"))
        model = nnx.Linear(3, 8, kernel_init=init, use_bias=False, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        held = optimizer.opt_state.held_gradients["kernel"][...]
        assert held.sharding.spec == P(None, None, "x"), held.sharding
        nnx.jit(lambda model, optimizer: optimizer.update(model, nnx.state(model)))(model, optimizer)
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ) | flags)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "either `delay` or `schedule`"),
        ({"delay": 1, "schedule": SCHEDULES["minibatch"]}, ValueError, "either `delay` or `schedule`"),
        ({"delay": -1}, ValueError, "whole number from 0 on"),
        ({"delay": True}, ValueError, "whole number from 0 on"),
        ({"delay": 1.0}, ValueError, "whole number from 0 on"),
        ({"delay": {"a": 1, "b": -1}}, ValueError, "whole number from 0 on"),
        ({"delay": {}}, ValueError, "whole number from 0 on"),
        ({"delay": lambda t: t}, ValueError, "needs `max_delay`"),
        ({"delay": lambda t: t, "max_delay": -1}, ValueError, "needs `max_delay`"),
        ({"delay": 3, "max_delay": 3}, ValueError, "`max_delay` is for a `delay` that is a function"),
        ({"schedule": SCHEDULES["minibatch"], "max_delay": 3}, ValueError, "`max_delay` is for"),
        ({"schedule": FLEET}, TypeError, "must be a jasgd.Schedule"),
        ({"schedule": SCHEDULES["minibatch"].first_updates(0)}, ValueError, "empty"),
        ({"schedule": dataclasses.replace(SCHEDULES["minibatch"], worker=np.full(200, 7))}, ValueError, "`worker` must lie"),
        ({"delay": {"a": 1}, "stale_params": True}, ValueError, "one delay for all leaves"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(options, error, message):
    """Before anything is compiled."""
    with pytest.raises(error, match=message):
        delayed(optax.sgd(0.1), **options)


def test_more_that_is_refused_in_a_sentence():
    """No optimizer, a function that returns no whole number, no parameters where they are needed."""
    with pytest.raises(TypeError, match="Optax transformation"):
        delayed(0.1, delay=1)
    tx = delayed(optax.sgd(0.1), delay=lambda t: 0.5, max_delay=1)
    with pytest.raises(ValueError, match="must return one whole number"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
    tx = delayed(optax.sgd(0.1), delay=1, stale_params=True)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
