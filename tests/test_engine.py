"""The compiled loop agrees with the slow reference, whatever the lanes and chunks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import engine
from jasgd.chunks import chunk_arrays, ring_rows
from jasgd.plan import plan

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(7)
QUADRATIC = jasgd.problems.quadratic(8, noise=0.1)


def stamped():
    """A problem whose "gradient" is the snapshot itself, and a rule that counts: the parameter is its version."""
    return jasgd.Problem(
        init=lambda key: {"stamp": jnp.zeros(3)},
        loss=lambda params, batch: jnp.sum(params["stamp"]),
        sample=lambda key, worker: worker,
        metrics=lambda params: {"loss": params["stamp"][0], "grad_norm": params["stamp"][0]},
        gradient=lambda params, batch: params,
    )


def check_stamp():
    """Counts in the parameters, and adds up (version read - version meant)^2 in its state."""

    def update(gradients, state, params, *, delay, step, **extra):
        wrong = jnp.sum((gradients["stamp"] - (step - delay)) ** 2) + jnp.sum((params["stamp"] - step) ** 2)
        return jax.tree.map(jnp.ones_like, gradients), state + wrong

    return optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)


POLICIES = [
    {},
    {"dispatch": "before"},
    {"assignment": "random"},
    {"assignment": "random", "parallel": True},
    {"assignment": "shuffled"},
    {"wait_for": 2},
    {"assignment": "random", "wait_for": 3},
    {"concurrency": 3},
    {"max_delay": 4},
    {"max_delay": 4, "age_in": "arrivals"},
    {"first_round": "together"},
]


@settings(max_examples=25, deadline=None)
@given(
    times=st.lists(st.floats(0.1, 20.0), min_size=5, max_size=5),
    policy=st.sampled_from(POLICIES),
    lanes=st.sampled_from([1, 2, 5]),
)
def test_every_gradient_is_taken_at_the_version_that_the_schedule_says(times, policy, lanes):
    """Snapshots carry their own version; also with dropped jobs, queues and waiting."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed(times), 100, **policy)
    run = jasgd.simulate(stamped(), check_stamp(), schedule, key=KEY, lanes=lanes, every=10)
    assert float(run.rule_state) == 0.0
    np.testing.assert_array_equal(run.history["loss"], run.history["version"])


@settings(max_examples=15, deadline=None)
@given(
    times=st.lists(st.floats(0.1, 20.0), min_size=5, max_size=5),
    policy=st.sampled_from(POLICIES),
    lanes=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 3),
)
def test_engine_equals_the_event_loop(times, policy, lanes, seed):
    """Rows exactly, parameters to float32 rounding, on random fleets and policies, with momentum."""
    fleet, rule = jasgd.fleet.exponential(times), optax.sgd(0.02, momentum=0.5)
    schedule = jasgd.protocols.asynchronous(fleet, 60, seed=seed, **policy)
    reference = jasgd.reference.asynchronous(QUADRATIC, rule, fleet, 60, key=KEY, seed=seed, **policy)
    columns = zip(*(getattr(schedule, name).tolist() for name in ("worker", "job", "read", "start", "time")), strict=True)
    assert reference.rows == list(columns)
    run = jasgd.simulate(QUADRATIC, rule, schedule, key=KEY, lanes=lanes)
    np.testing.assert_allclose(run.params, reference.params, rtol=0, atol=2e-5)


@pytest.mark.parametrize("lanes", [1, 2, 3, 6])
def test_gathered_rows_equal_the_reference(lanes):
    """Weighted sums of gradients at different snapshots, one step per round."""
    schedule = jasgd.protocols.delays(6, 30, jasgd.protocols.uniform_delays(4), every_worker=True)
    points = jasgd.reference.replay(QUADRATIC, optax.sgd(0.3, momentum=0.5), schedule, key=KEY)
    run = jasgd.simulate(QUADRATIC, optax.sgd(0.3, momentum=0.5), schedule, key=KEY, lanes=lanes, every=7)
    np.testing.assert_allclose(run.params, points[-1], atol=1e-5)
    losses = [float(QUADRATIC.metrics(points[v])["loss"]) for v in run.history["version"]]
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-5)


@pytest.mark.parametrize(("workers", "delay"), [(1, 16), (3, 40), (2, 1)])
@pytest.mark.parametrize("lanes", [1, 4])
def test_drawn_delays_may_need_more_slots_than_workers(workers, delay, lanes):
    """A ring as deep as the largest delay, whatever the number of workers."""
    schedule = jasgd.protocols.delays(workers, 120, delay)
    points = jasgd.reference.replay(QUADRATIC, optax.sgd(0.02), schedule, key=KEY)
    run = jasgd.simulate(QUADRATIC, optax.sgd(0.02), schedule, key=KEY, lanes=lanes, every=9)
    np.testing.assert_allclose(run.params, points[-1], atol=1e-5)
    losses = [float(QUADRATIC.metrics(points[v])["loss"]) for v in run.history["version"]]
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-4)


def test_lanes_and_chunks_do_not_matter():
    """Any W and any number of steps per chunk give the same points, to rounding."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(12, 0.7), 300)
    program = engine.traced(QUADRATIC, optax.sgd(0.05), QUADRATIC.init(KEY), KEY)
    results = []
    for lanes, chunk_steps in [(1, 300), (1, 7), (3, 50), (3, 8), (12, 4)]:
        compiled = plan(schedule, lanes, chunk_steps=chunk_steps)
        loop, state = engine.loop_of(program, compiled), engine.init(program, compiled)
        for chunk in range(compiled.chunks):
            state = engine.step(loop, program.numbers, KEY, state, chunk_arrays(loop, compiled, chunk))
        results.append(np.asarray(state.params))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-5)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("lanes", [1, 4])
def test_resuming_from_the_middle_gives_the_same_bits(lanes):
    """The state between chunks is all that there is: stored and restored, it continues bit for bit."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(6, 1.0), 200)
    program = engine.traced(QUADRATIC, optax.adam(0.05), QUADRATIC.init(KEY), KEY)
    compiled = plan(schedule, lanes, chunk_steps=16)
    loop = engine.loop_of(program, compiled)

    def run(state, chunks):
        for chunk in chunks:
            state = engine.step(loop, program.numbers, KEY, state, chunk_arrays(loop, compiled, chunk))
        return state

    whole = run(engine.init(program, compiled), range(compiled.chunks))
    half = jax.tree.map(np.asarray, run(engine.init(program, compiled), range(3)))
    resumed = run(jax.tree.map(jnp.asarray, half), range(3, compiled.chunks))
    jax.tree.map(np.testing.assert_array_equal, whole.params, resumed.params)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("rule", [optax.sgd(0.1), optax.adam(0.03), optax.chain(optax.clip(0.5), optax.adamw(0.01))])
def test_a_lone_worker_is_plain_optax_bit_for_bit(rule):
    """One worker has delay 0, so the simulation is an ordinary training loop over the same batches."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(1), 50)
    run = jasgd.simulate(QUADRATIC, rule, schedule, key=KEY)
    init_key, job_key = jax.random.split(KEY)
    params = QUADRATIC.init(init_key)
    batches = jax.jit(jax.vmap(lambda job: QUADRATIC.sample(jasgd.job_key(job_key, 0, job), 0)))(jnp.arange(50))
    state = rule.init(params)

    @jax.jit
    def train_step(params, state, batch):
        updates, state = rule.update(QUADRATIC.gradient(params, batch), state, params)
        return optax.apply_updates(params, updates), state

    for batch in batches:
        params, state = train_step(params, state, batch)
    np.testing.assert_array_equal(run.params, params)


@pytest.mark.parametrize("delay", [0, 1, 5, 39])
def test_constant_delay_is_stable_up_to_the_known_limit(delay):
    """x_{k+1} = x_k - step L x_{k-delay}: stable below (2/L) sin(pi / (2 (2 delay + 1))), unstable above, within 1 %."""
    smoothness = 2.0
    problem = jasgd.problems.quadratic(1, spectrum=[smoothness])
    limit = 2 / smoothness * np.sin(np.pi / (2 * (2 * delay + 1)))
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(delay + 1), max(12_000, 2_000 * (delay + 1)))
    assert schedule.delay.max() == delay

    def final(step):
        return abs(float(jasgd.simulate(problem, optax.sgd(step), schedule, key=KEY, lanes=1).params[0]))

    assert final(0.99 * limit) < 0.5
    assert not final(1.01 * limit) < 2.0


@pytest.mark.compiled_fully
def test_a_job_has_the_same_sample_under_every_protocol():
    """Common random numbers: a sample depends on (key, worker, job) alone."""
    problem = jasgd.Problem(
        init=lambda key: jnp.zeros((4, 400)),
        loss=lambda params, batch: jnp.sum(params),
        sample=lambda key, worker: (worker, jax.random.normal(key)),
        metrics=lambda params: {"loss": params[0, 0], "grad_norm": params[0, 0]},
        gradient=lambda params, batch: jnp.zeros_like(params).at[batch[0], 0].set(batch[1]),
    )

    def note():
        def update(gradients, state, params, *, worker, **extra):
            jobs = state
            row = jnp.roll(gradients[worker], jobs[worker])
            return jnp.zeros_like(params).at[worker].set(row), jobs.at[worker].add(1)

        return optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(4, jnp.int32), update)

    fleet = jasgd.fleet.exponential([1.0, 2.0, 3.0, 4.0])
    seen = [
        np.asarray(jasgd.simulate(problem, note(), schedule, key=KEY, lanes=lanes).params)
        for schedule, lanes in [
            (jasgd.protocols.asynchronous(fleet, 200), 1),
            (jasgd.protocols.asynchronous(fleet, 200, seed=5, dispatch="before"), 3),
            (jasgd.protocols.asynchronous(fleet, 200, assignment="shuffled"), 2),
        ]
    ]
    for other in seen[1:]:
        both = (seen[0] != 0) & (other != 0)
        assert both.sum() > 100
        np.testing.assert_array_equal(seen[0][both], other[both])


def test_a_second_run_of_the_same_structure_compiles_nothing():
    """Another seed, step size, schedule of the same size or data: one program."""
    fleet = jasgd.fleet.exponential(np.ones(6))

    def run(step_size, seed, noise_seed, target):
        problem = jasgd.problems.least_squares(target, target[:, 0], batch=2)
        schedule = jasgd.protocols.asynchronous(fleet, 100, seed=seed)
        rule = optax.chain(optax.clip_by_global_norm(10 * step_size), optax.adam(step_size))
        return jasgd.simulate(problem, rule, schedule, key=jax.random.key(noise_seed), every=25, lanes=1)

    data = np.random.default_rng(0).normal(size=(2, 10, 3))
    run(0.1, 0, 0, data[0])
    compiled = engine.step._cache_size()
    run(0.02, 1, 2, data[1])
    assert engine.step._cache_size() == compiled


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_parameters_keep_their_dtype(dtype):
    """Low precision parameters stay so, and so do their snapshots."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 20)
    start = jnp.ones(8, dtype)
    run = jasgd.simulate(QUADRATIC, optax.sgd(0.1), schedule, key=KEY, params=start, lanes=2)
    assert run.params.dtype == dtype
    assert float(jnp.linalg.norm(run.params.astype(jnp.float32))) < 2.75


@pytest.mark.compiled_fully
@pytest.mark.parametrize("lanes", [1, 7, 500])
def test_sums_of_low_precision_gradients_are_exact(lanes):
    """The mean of 500 equal bfloat16 gradients is that gradient, however it is summed."""
    problem = dataclasses.replace(QUADRATIC, gradient=lambda params, batch: jnp.ones_like(params))
    schedule = jasgd.protocols.delays(500, 2, 0, every_worker=True)
    start = jnp.ones(8, jnp.bfloat16)
    run = jasgd.simulate(problem, optax.sgd(0.5), schedule, key=KEY, params=start, lanes=lanes)
    assert run.params.tolist() == [0.0] * 8
    assert jasgd.reference.replay(problem, optax.sgd(0.5), schedule, key=KEY, params=start)[-1].tolist() == [0.0] * 8


def test_stale_params_are_the_snapshot():
    """A rule may ask for the point its gradient was computed at."""

    def update(gradients, state, params, *, stale_params, **extra):
        return jax.tree.map(jnp.ones_like, gradients), state + jnp.sum((stale_params["stamp"] - gradients["stamp"]) ** 2)

    rule = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(5, 1.0), 50)
    assert float(jasgd.simulate(stamped(), rule, schedule, key=KEY).rule_state) == 0.0
    with pytest.raises(ValueError, match="`stale_params`, which needs `lanes=1`"):
        jasgd.simulate(stamped(), rule, schedule, key=KEY, lanes=4)


def test_the_ring_stays_below_workers_plus_one():
    """Rows of the ring: a slot per job in flight, and one for what nobody reads."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(20, 1.0), 400)
    assert ring_rows(plan(schedule, 4)) <= 21
    recording = plan(schedule, 4, chunk_steps=50, record_versions=np.arange(0, 401, 20))
    assert recording.slots + 1 <= ring_rows(recording) <= 21 + recording.records_per_chunk + 16


def test_no_key_is_used_twice():
    """One end-to-end run under JAX's own check of key reuse."""
    with jax.debug_key_reuse(True):
        schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 5)
        problem = dataclasses.replace(QUADRATIC, sample=lambda key, worker: jax.random.normal(key, (8,)))
        jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(11))


def test_what_a_rule_returns_for_gathered_rows_is_not_applied():
    """A rule that asks for ``apply`` and breaks its promise of zero moves nothing between steps, as in the reference."""

    def update(gradient, state, params=None, *, apply, **extra):
        return jax.tree.map(lambda g: -0.1 * g + 0 * apply, gradient), state

    rule = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    schedule = jasgd.protocols.minibatch(jasgd.fleet.fixed([1.0, 2.0, 3.0]), 4)
    for lanes in (1, 3):
        run = jasgd.simulate(QUADRATIC, rule, schedule, key=KEY, lanes=lanes)
        np.testing.assert_allclose(run.params, jasgd.reference.replay(QUADRATIC, rule, schedule, key=KEY)[-1], rtol=1e-6)
