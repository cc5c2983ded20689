"""Buffered and federated rules: gather, when_applied, FedBuff, FedAsync, FADAS; and Ringleader's table.

Expected values are computed by hand in NumPy, row after row, in double precision.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick

import jasgd
from jasgd import fleet, rules
from jasgd.protocols import asynchronous, minibatch
from jasgd.rules import delay_weights as w

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(5)
CONSTANT = w.polynomial(0.0)


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


def gathered_schedule(num_workers, rows, seed=0):
    """A schedule by hand: steps of 1, 2 or 4 gradients (whose weights are exact), at snapshots up to six steps old."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1, 2, 4], rows)
    sizes = sizes[: np.searchsorted(np.cumsum(sizes), rows) + 1]
    version = np.repeat(np.arange(len(sizes)), sizes)
    worker = rng.integers(0, num_workers, len(version))
    job = [np.count_nonzero(worker[:k] == worker[k]) for k in range(len(version))]
    read = np.maximum(version - rng.integers(0, 7, len(version)), 0)
    return jasgd.Schedule(
        worker=worker,
        job=job,
        read=read,
        start=read,
        time=version + 1.0,
        weight=np.repeat(1 / sizes, sizes),
        apply=np.append(np.diff(version) > 0, True),
        num_workers=num_workers,
        clock="steps",
        parallel=True,
    ).verify()


GATHERED = gathered_schedule(5, 80)
ROUNDS = minibatch(fleet.exponential([1.0, 2.0, 4.0]), 12)
DIM = 3
PULLS = np.random.default_rng(1).normal(size=(5, DIM))  # worker i's gradient at x is x - PULLS[i]


def quadratic():
    """Every worker has its own minimiser; there is no noise."""
    table = jnp.asarray(PULLS)
    return jasgd.Problem(
        init=lambda key: jnp.full(DIM, 2.0),
        loss=lambda x, pull: 0.5 * jnp.sum((x - pull) ** 2),
        sample=lambda key, worker: table[worker],
        metrics=lambda x: {"loss": jnp.sum(x**2), "grad_norm": x[0]},
    )


def simulated(rule, schedule, lanes=1):
    return jasgd.simulate(quadratic(), rule, schedule, key=KEY, lanes=lanes, every=1)


def replayed(rule, schedule):
    """All versions, by the slow loop; the update is compiled once, not once per row."""
    compiled = optax.GradientTransformationExtraArgs(rule.init, jax.jit(rule.update))
    return np.array(jasgd.reference.replay(quadratic(), compiled, schedule, key=KEY))


def by_hand(schedule, step):
    """All points, where ``step(buffer, points)`` gets the rows (worker, weight, delay, gradient) of a server step."""
    points, buffer = [np.full(DIM, 2.0)], []
    for worker, weight, delay, read, apply in zip(
        schedule.worker, schedule.weight, schedule.delay, schedule.read, schedule.apply, strict=True
    ):
        buffer.append((worker, float(weight), int(delay), points[read] - PULLS[worker]))
        if apply:
            points.append(step(buffer, points))
            buffer = []
    return np.array(points)


def assert_same_tree(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def assert_agrees(run, points, atol=1e-12):
    """The end and the recorded values of all versions."""
    np.testing.assert_allclose(run.params, points[-1], rtol=0, atol=atol)
    np.testing.assert_allclose(run.history["loss"], (points**2).sum(1), rtol=0, atol=10 * atol)


# gather and when_applied alone.


def test_gather_returns_the_mean_when_the_server_steps_and_starts_again():
    """Zero before; then the mean; then nothing is left of it."""
    rule = rules.gather()
    state, seen = rule.init(jnp.zeros(1)), []
    for gradient, apply in [(1.0, False), (2.0, False), (6.0, True), (8.0, True), (16.0, False), (32.0, True)]:
        update, state = rule.update(jnp.array([gradient]), state, apply=apply)
        seen.append(float(update[0]))
    assert seen == [0, 0, 3, 8, 0, 24]
    assert (float(state.gathered_sum[0]), int(state.gathered_count)) == (0, 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gather_rounds_once(dtype):
    """512 and 511 times 1/2: in low precision many additions alone would be lost; the mean of 512 is 1.4990234375."""
    rule = rules.gather()
    state = rule.init(jnp.zeros((), dtype))
    update = jax.jit(rule.update)
    _, state = update(jnp.full((), 512.0, dtype), state, apply=False)
    for k in range(511):
        mean, state = update(jnp.full((), 0.5, dtype), state, apply=k == 510)
    assert mean.dtype == dtype
    assert mean == jnp.asarray((512 + 511 / 2) / 512, dtype)


def test_when_applied_calls_the_optimizer_only_for_server_steps():
    """Between steps: zero, and moments and counters stay; at a step: the optimizer's own update."""
    adam, gradient = optax.adam(0.1), jnp.array([1.0, -2.0])
    rule = rules.when_applied(adam)
    state = rule.init(jnp.zeros(2))
    for _ in range(2):
        update, state = rule.update(100 * gradient, state, jnp.zeros(2), apply=False)
        assert update.tolist() == [0.0, 0.0]
    assert_same_tree(state.inner_state, adam.init(jnp.zeros(2)))
    update, state = rule.update(gradient, state, jnp.zeros(2), apply=True)
    expected, once = adam.update(gradient, adam.init(jnp.zeros(2)))
    np.testing.assert_allclose(update, expected, rtol=1e-6)
    np.testing.assert_allclose(state.inner_state[0].mu, once[0].mu, rtol=1e-6)
    assert int(state.inner_state[0].count) == 1


@pytest.mark.usefixtures("x64")
def test_gathering_by_hand_is_what_other_rules_get():
    """Adam behind gather, which sees every row, is Adam alone, which sees one sum per step."""
    rule = optax.chain(rules.gather(), rules.when_applied(optax.adam(0.1)))
    one, other = (simulated(r, GATHERED, lanes=3) for r in (rule, optax.adam(0.1)))
    np.testing.assert_allclose(one.history["loss"], other.history["loss"], rtol=1e-12)
    np.testing.assert_allclose(one.params, other.params, rtol=0, atol=1e-13)


# What a rule that asks for ``apply`` is told.


def logbook(rows):
    """Write down every row in a state of its own; step with the plain sum."""

    def init(params):
        numbers = dict.fromkeys(("worker", "delay", "step"), jnp.zeros(rows, jnp.int32))
        return numbers | {
            "row": jnp.int32(0),
            "apply": jnp.zeros(rows, bool),
            "time": jnp.zeros(rows),
            "duration": jnp.zeros(rows),
            "gradient": jnp.zeros((rows, *params.shape)),
        }

    def update(gradient, state, params, **extra):
        row = state["row"]
        names = ("worker", "delay", "step", "apply", "time", "duration")
        new = {name: state[name].at[row].set(extra[name]) for name in names}
        return gradient, new | {"row": row + 1, "gradient": state["gradient"].at[row].set(gradient)}

    noted = optax.GradientTransformationExtraArgs(init, update)
    return optax.chain(noted, rules.gather(), rules.when_applied(optax.sgd(0.2)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("schedule", "lanes"),
    [(GATHERED, 1), (GATHERED, 5), (ROUNDS, 3)],
    ids=["gathered-1", "gathered-5", "minibatch-3"],
)
def test_a_rule_that_asks_for_apply_sees_every_row(schedule, lanes):
    """Each gradient as it came, without its weight, with its own worker, delay, step, time and duration; in order."""
    run = simulated(logbook(len(schedule)), schedule, lanes)
    noted = run.rule_state[0]
    points = by_hand(schedule, lambda buffer, x: x[-1] - 0.2 * sum(weight * g for _, weight, _, g in buffer))
    assert int(noted["row"]) == len(schedule)
    for name in ("worker", "delay", "apply", "time", "duration"):
        np.testing.assert_array_equal(noted[name], getattr(schedule, name), err_msg=name)
    np.testing.assert_array_equal(noted["step"], schedule.version)
    gradients = points[schedule.read] - PULLS[schedule.worker]
    np.testing.assert_allclose(noted["gradient"], gradients, rtol=0, atol=1e-6)  # weights are in single precision


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("rule", "schedule", "lanes"),
    [
        (rules.fedbuff(0.3, inner=optax.trace(0.5)), GATHERED, (1, 5)),
        (rules.fadas(0.05), GATHERED, (5,)),  # with one lane: by hand below
        (rules.fedbuff(0.3, inner=optax.trace(0.5)), ROUNDS, (3,)),
    ],
    ids=["fedbuff", "fadas", "fedbuff-minibatch"],
)
def test_rows_are_the_same_for_any_lanes_and_in_the_reference(rule, schedule, lanes):
    """Lanes 1 and n, and the slow replay, give the same versions."""
    points = replayed(rule, schedule)
    for width in lanes:
        assert_agrees(simulated(rule, schedule, width), points)


@pytest.mark.compiled_fully
@pytest.mark.usefixtures("x64")
def test_weights_of_the_schedule_do_not_reach_a_rule_that_takes_its_own_mean():
    """FedBuff over the same rows with other weights is the same run."""
    other = dataclasses.replace(GATHERED, weight=np.linspace(1, 2, len(GATHERED)))
    rule = rules.fedbuff(0.3)
    np.testing.assert_array_equal(simulated(rule, other).params, simulated(rule, GATHERED).params)


# FedBuff.


@pytest.mark.usefixtures("x64")
def test_fedbuff_without_a_buffer_is_asynchronous_sgd():
    """K = 1, Q = 1, s = 1 under uniform assignment: SGD with step eta_g eta_l."""
    schedule = asynchronous(fleet.exponential(np.ones(5)), 60, assignment="random")
    local = optax.scale(0.5)  # a client's one local step with eta_l = 0.5 returns w - y = 0.5 g
    run = simulated(optax.chain(local, rules.fedbuff(0.4, weight=CONSTANT)), schedule)
    assert_agrees(run, by_hand(schedule, lambda buffer, x: x[-1] - 0.4 * 0.5 * buffer[0][3]))
    np.testing.assert_allclose(run.params, simulated(optax.sgd(0.2), schedule).params, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_fedbuff_with_everybody_in_the_buffer_is_synchronous():
    """K = C, all released together: delays are 0, and the server steps with the plain mean (FedAvg), whatever s."""
    run = simulated(rules.fedbuff(0.4), ROUNDS, lanes=3)
    assert_agrees(run, by_hand(ROUNDS, lambda buffer, x: x[-1] - 0.4 * np.mean([g for *_, g in buffer], axis=0)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("weight", "s"),
    [(None, lambda tau: (1 + tau) ** -0.5), (w.hinge(2.0, 1), lambda tau: 1 / (2 * max(tau - 1, 0) + 1))],
    ids=["default", "hinge"],
)
def test_fedbuff_steps_with_the_weighted_mean_of_the_buffer(weight, s):
    """Update is -eta_g (1/K) sum_i s(tau_i) Delta_i with each gradient's own staleness; s = (1 + tau)^(-1/2) by default."""
    points = by_hand(GATHERED, lambda buffer, x: x[-1] - 0.3 * sum(share * s(tau) * g for _, share, tau, g in buffer))
    assert_agrees(simulated(rules.fedbuff(0.3, weight=weight), GATHERED), points)


@pytest.mark.usefixtures("x64")
def test_fedbuff_takes_the_mean_of_its_buffer():
    """The mean, not FLSim's default sum."""
    row = functools.partial(rules.fedbuff(1.0, weight=CONSTANT).update, params=None, delay=0)
    state = rules.fedbuff(1.0, weight=CONSTANT).init(jnp.zeros(()))
    for apply in (False, False, True):
        update, state = row(jnp.ones(()), state, apply=apply)
    assert float(update) == -1.0


@pytest.mark.usefixtures("x64")
def test_fedbuff_momentum_follows_the_flushes():
    """A server momentum: m <- 0.9 m + buffer once per flush, in a run."""
    momentum = np.zeros(DIM)

    def step(buffer, points):
        nonlocal momentum
        momentum = 0.9 * momentum + sum(share / np.sqrt(1 + tau) * g for _, share, tau, g in buffer)
        return points[-1] - 0.1 * momentum

    assert_agrees(simulated(rules.fedbuff(0.1, inner=optax.trace(0.9)), GATHERED), by_hand(GATHERED, step))


@pytest.mark.compiled_fully
def test_fedbuff_momentum_moves_only_at_flushes():
    """The trace stays bit for bit while the buffer fills, and the update is zero."""
    rule = rules.fedbuff(0.1, inner=optax.trace(0.9))
    state, traces, updates = rule.init(jnp.zeros(1)), [], []
    for apply in (False, True, False, False, True):
        update, state = rule.update(jnp.ones(1), state, delay=0, apply=apply)
        traces.append(float(optax.tree.get(state, "trace")[0]))
        updates.append(float(update[0]))
    np.testing.assert_allclose(traces, [0, 1, 1, 1, 0.9 * 1 + 1], rtol=1e-6)
    np.testing.assert_allclose(updates, [0, -0.1, 0, 0, -0.19], rtol=1e-6)


# FedAsync: a worker's model y is its snapshot minus Delta; here Delta = 0.5 (x_stale - PULLS[i]).

LATE = asynchronous(fleet.lognormal(np.zeros(5), 1.0), 60)
LOCAL = optax.scale(0.5)


@pytest.mark.usefixtures("x64")
def test_fedasync_with_full_mixing_is_the_last_client():
    """With alpha = 1 and s = 1, x_t = y."""
    points = by_hand(LATE, lambda buffer, x: x[len(x) - 1 - buffer[0][2]] - 0.5 * buffer[0][3])
    assert LATE.delay.max() > 5
    assert_agrees(simulated(optax.chain(LOCAL, rules.fedasync(1.0)), LATE), points)


@pytest.mark.usefixtures("x64")
def test_fedasync_without_delay_is_sgd():
    """A lone worker with one local step: SGD with step alpha eta_l."""
    schedule = asynchronous(fleet.equal(1), 30)
    run = simulated(optax.chain(LOCAL, rules.fedasync(0.6, weight=w.hinge(10.0, 4))), schedule)
    np.testing.assert_allclose(run.params, simulated(optax.sgd(0.3), schedule).params, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("weight", "s"),
    [
        (None, lambda tau: 1.0),
        (w.polynomial(0.5), lambda tau: (1 + tau) ** -0.5),
        (w.hinge(10.0, 4), lambda tau: 1.0 if tau <= 4 else 1 / (10 * (tau - 4) + 1)),
    ],
    ids=["constant", "polynomial", "hinge"],
)
def test_fedasync_mixes_models(weight, s):
    """Update is x_t = (1 - alpha_t) x_{t-1} + alpha_t y, alpha_t = 0.6 s(tau)."""

    def step(buffer, points):
        (_, _, tau, gradient), alpha = buffer[0], 0.6 * s(buffer[0][2])
        y = points[len(points) - 1 - tau] - 0.5 * gradient
        return (1 - alpha) * points[-1] + alpha * y

    run = simulated(optax.chain(LOCAL, rules.fedasync(0.6, weight=weight)), LATE)
    assert_agrees(run, by_hand(LATE, step))


@pytest.mark.parametrize("mixing", [0, -0.5, 1.5, float("nan")])
def test_fedasync_refuses_to_mix_outside_zero_to_one(mixing):
    """The mixing weight alpha lies in (0, 1]."""
    with pytest.raises(ValueError, match="`mixing` must be a number in"):
        rules.fedasync(mixing)


# FADAS.

BUFFERS = [3, 1, 4, 2, 3, 5, 2]


def fadas_by_hand(deltas, factors, b1=0.9, b2=0.99, eps=1e-8):
    """AMSGrad with the maximum before the bias correction; ``factors`` scale the step alone."""
    m = u = largest = np.zeros(deltas.shape[1])
    out = []
    for r, (delta, factor) in enumerate(zip(deltas, factors, strict=True), start=1):
        m = b1 * m + (1 - b1) * delta
        u = b2 * u + (1 - b2) * delta**2
        largest = np.maximum(largest, u)
        out.append(factor / (1 - b1**r) * m / (np.sqrt(largest) / np.sqrt(1 - b2**r) + eps))
    return np.array(out), (m, u, largest)


def fadas_rows(seed=0):
    """Gradients, delays and flush flags of some buffers; the second buffer is loud, so the maximum matters."""
    rng = np.random.default_rng(seed)
    scale = np.repeat([1.0, 30.0, 1.0, 0.1, 1.0, 1.0, 1.0], BUFFERS)
    gradients = scale[:, None] * rng.normal(size=(sum(BUFFERS), DIM))
    ends = np.cumsum(BUFFERS)
    return gradients, rng.integers(0, 9, sum(BUFFERS)), np.isin(np.arange(sum(BUFFERS)) + 1, ends), ends


def run_rows(rule, gradients, **rows):
    """Updates of all rows, and the last state, in one scan."""
    rule = optax.with_extra_args_support(rule)

    @quick.jit
    def scan(gradients, rows):
        def step(state, row):
            updates, state = rule.update(row["gradient"], state, params, **{k: v for k, v in row.items() if k != "gradient"})
            return state, (updates, state)

        params = jnp.zeros(gradients.shape[1], gradients.dtype)
        _, found = jax.lax.scan(step, rule.init(params), {"gradient": gradients} | rows)
        return found

    updates, states = scan(jnp.asarray(gradients), {name: jnp.asarray(row) for name, row in rows.items()})
    return np.asarray(updates), jax.tree.map(np.asarray, states)


@pytest.mark.usefixtures("x64")
def test_fadas_is_amsgrad_with_the_maximum_before_the_correction():
    """With w = 1: by hand in NumPy; zero between flushes."""
    gradients, ages, apply, ends = fadas_rows()
    deltas = np.add.reduceat(gradients, np.append(0, ends[:-1])) / np.array(BUFFERS)[:, None]
    expected, _ = fadas_by_hand(deltas, np.ones(len(BUFFERS)))
    updates, _ = run_rows(rules.scale_by_fadas(), gradients, delay=ages, apply=apply)
    np.testing.assert_allclose(updates[apply], expected, rtol=1e-12)
    np.testing.assert_array_equal(updates[~apply], 0)


@pytest.mark.usefixtures("x64")
def test_fadas_on_constant_gradients_is_amsgrad_of_optax():
    """Where the corrected second moment never falls, it does not matter where the maximum sits."""
    gradients, every = np.tile([1.0, -3.0, 0.01], (20, 1)), np.ones(20, bool)
    one, _ = run_rows(rules.scale_by_fadas(b2=0.99), gradients, delay=np.zeros(20, int), apply=every)
    other, _ = run_rows(optax.scale_by_amsgrad(b2=0.99), gradients)
    np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_fadas_is_not_amsgrad_of_optax_in_general():
    """After a loud gradient the two maxima differ."""
    gradients, every = np.array([[1.0], [30.0], [1.0], [1.0]]), np.ones(4, bool)
    one, _ = run_rows(rules.scale_by_fadas(b2=0.99), gradients, delay=np.zeros(4, int), apply=every)
    other, _ = run_rows(optax.scale_by_amsgrad(b2=0.99), gradients)
    assert np.abs(one - other).max() > 0.01


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("critical", [0, 1, 5])
def test_fadas_step_shrinks_with_the_largest_delay_of_the_buffer(critical):
    """R11: 1 if m <= tau_c else 1 / m, m the largest delay of this buffer and of no other; m and u are not rescaled."""
    gradients, ages, apply, ends = fadas_rows()
    largest = np.maximum.reduceat(ages, np.append(0, ends[:-1]))
    factors = np.where(largest <= critical, 1.0, 1.0 / np.maximum(largest, 1))
    assert not np.array_equal(largest, ages[apply])
    deltas = np.add.reduceat(gradients, np.append(0, ends[:-1])) / np.array(BUFFERS)[:, None]
    expected, moments = fadas_by_hand(deltas, factors)
    updates, states = run_rows(rules.scale_by_fadas(critical_delay=critical), gradients, delay=ages, apply=apply)
    np.testing.assert_allclose(updates[apply], expected, rtol=1e-12)
    for name, moment in zip(("fadas_mean", "fadas_square", "fadas_largest"), moments, strict=True):
        np.testing.assert_allclose(getattr(states, name)[-1], moment, rtol=1e-12)


def test_fadas_forgets_the_delays_of_the_last_buffer():
    """Delays (7, 0), then (0): the step is divided by 7, then by 1."""
    _, states = run_rows(
        rules.scale_by_fadas(critical_delay=1),
        np.ones((3, 1)),
        delay=np.array([7, 0, 0]),
        apply=np.array([False, True, True]),
    )
    assert states.buffer_delay.tolist() == [7, 0, 0]


def test_fadas_waits_for_the_flush():
    """Moments, maximum and round move only where the server steps."""
    gradients, ages, apply, _ = fadas_rows()
    _, states = run_rows(rules.scale_by_fadas(), gradients.astype(np.float32), delay=ages, apply=apply)
    np.testing.assert_array_equal(states.fadas_round, np.cumsum(apply))
    for moment in (states.fadas_mean, states.fadas_square, states.fadas_largest):
        np.testing.assert_array_equal(moment[1:][~apply[1:]], moment[:-1][~apply[1:]])
        assert np.abs(moment[-1]).min() > 0


@pytest.mark.usefixtures("x64")
def test_fadas_descends_with_its_learning_rate():
    """The ready optimizer: x <- x - eta w m / sqrt(u), tau_c = 1, in a run over a gathered schedule."""
    deltas = []

    def step(buffer, points):
        deltas.append((sum(share * g for _, share, _, g in buffer), max(tau for _, _, tau, _ in buffer)))
        factors = [1.0 if m <= 1 else 1 / m for _, m in deltas]
        return points[-1] - 0.05 * fadas_by_hand(np.array([delta for delta, _ in deltas]), factors)[0][-1]

    assert_agrees(simulated(rules.fadas(0.05), GATHERED), by_hand(GATHERED, step))


# Ringleader.


class PlainRingleader:
    """Sums and counts of this round and of the next, in plain Python."""

    def __init__(self, n, dim):
        self.n, self.dim = n, dim
        self.sums, self.counts = np.zeros((n, dim)), np.zeros(n, int)
        self.next_sums, self.next_counts = np.zeros((n, dim)), np.zeros(n, int)
        self.marked = set()

    def arrive(self, worker, gradient):
        """The update, or None; and the counts that it used."""
        if worker in self.marked:
            self.next_sums[worker] += gradient
            self.next_counts[worker] += 1
            return None, None
        self.sums[worker] += gradient
        self.counts[worker] += 1
        if not self.counts.all():
            return None, None
        update, used = (self.sums / self.counts[:, None]).mean(0), self.counts.copy()
        self.marked.add(worker)
        if len(self.marked) == self.n:
            self.sums, self.counts, self.marked = self.next_sums, self.next_counts, set()
            self.next_sums, self.next_counts = np.zeros((self.n, self.dim)), np.zeros(self.n, int)
        return update, used


def ringleader_rows(n, rounds, seed):
    """Random arrivals over whole rounds, and which of them cause a step; some workers deliver far more often."""
    rng = np.random.default_rng(seed)
    share = 0.9 * rng.dirichlet(np.full(n, 0.5)) + 0.1 / n
    plain, workers, apply = PlainRingleader(n, 1), [], []
    while sum(apply) < n * rounds:
        workers.append(int(rng.choice(n, p=share)))
        apply.append(plain.arrive(workers[-1], np.zeros(1))[0] is not None)
    return np.array(workers), np.array(apply)


def golden_ringleader():
    """Computation times (1, 1.44, 2.05), up to the fourth update, with the models that the poster's timeline reads."""
    rows = [  # worker, job, read, start, time, apply
        (0, 0, 0, 0.00, 1.00, False),
        (1, 0, 0, 0.00, 1.44, False),
        (0, 1, 0, 1.00, 2.00, False),
        (2, 0, 0, 0.00, 2.05, True),
        (1, 1, 0, 1.44, 2.88, True),
        (0, 2, 0, 2.00, 3.00, True),
        (0, 3, 3, 3.00, 4.00, False),
        (2, 1, 1, 2.05, 4.10, False),
        (1, 2, 2, 2.88, 4.32, True),
    ]
    worker, job, read, start, time, apply = zip(*rows, strict=True)
    return jasgd.Schedule(
        worker=worker,
        job=job,
        read=read,
        start=start,
        time=time,
        weight=np.ones(9),
        apply=np.array(apply),
        num_workers=3,
    ).verify()


def coefficients(workers, apply, n):
    """How much of every gradient (columns) each step (rows) takes: the gradients are unit vectors."""
    updates, _ = run_rows(rules.scale_by_ringleader(n), np.eye(len(workers)), worker=workers, apply=apply)
    np.testing.assert_array_equal(updates[~apply], 0)
    return updates[apply]


def test_the_golden_schedule_has_the_published_times_and_workers():
    """Updates x^1..x^4 at 2.05, 2.88, 3.00, 4.32 by workers 3, 2, 1, 2; worker 1 reads 0, 0, 0, 3, worker 2 0, 0, 2."""
    schedule = golden_ringleader()
    assert schedule.time[schedule.apply].tolist() == [2.05, 2.88, 3.00, 4.32]
    assert (schedule.worker[schedule.apply] + 1).tolist() == [3, 2, 1, 2]
    assert [schedule.read[schedule.worker == i].tolist() for i in range(3)] == [[0, 0, 0, 3], [0, 0, 2], [0, 1]]


@pytest.mark.usefixtures("x64")
def test_golden_trace_uses_the_published_counts():
    """Counts b used at x^1..x^4: (2,1,1), (2,2,1), (3,2,1), (1,1,1); every gradient has the weight 1 / (n b_i)."""
    schedule = golden_ringleader()
    found = coefficients(schedule.worker, schedule.apply, 3)
    counts = [np.bincount(schedule.worker[row != 0], minlength=3) for row in found]
    np.testing.assert_array_equal(counts, [(2, 1, 1), (2, 2, 1), (3, 2, 1), (1, 1, 1)])
    for row, b in zip(found, counts, strict=True):
        np.testing.assert_allclose(row[row != 0], 1 / (3 * b[schedule.worker[row != 0]]), rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_golden_trace_in_a_run():
    """The same points from the simulator, from the slow replay and by hand."""
    schedule, plain = golden_ringleader(), PlainRingleader(3, DIM)
    points = [np.full(DIM, 2.0)]
    for worker, read in zip(schedule.worker, schedule.read, strict=True):
        update, _ = plain.arrive(worker, points[read] - PULLS[worker])
        if update is not None:
            points.append(points[-1] - 0.3 * update)
    rule = rules.ringleader(0.3, 3)
    np.testing.assert_allclose(replayed(rule, schedule), points, rtol=0, atol=1e-13)
    for lanes in (1, 3):
        assert_agrees(simulated(rule, schedule, lanes), np.array(points))


ROUNDS_OF = {f"{n} workers": (n, rounds) for n, rounds in [(2, 9), (3, 6), (5, 6), (8, 4)]}


@functools.cache
def random_rounds(name):
    """Random arrivals, coefficients, updates on random gradients, and counts, marks and round after every row."""
    n, rounds = ROUNDS_OF[name]
    workers, apply = ringleader_rows(n, rounds, seed=n)
    gradients = np.random.default_rng(n).normal(size=(len(workers), DIM))
    with jax.enable_x64(True):
        both = np.concatenate([np.eye(len(workers)), gradients], axis=1)
        updates, states = run_rows(rules.scale_by_ringleader(n), both, worker=workers, apply=apply)
    np.testing.assert_array_equal(updates[~apply], 0)
    return workers, apply, gradients, updates[apply, :-DIM], updates[apply, -DIM:], states


@pytest.mark.parametrize("name", ROUNDS_OF)
def test_random_arrivals_agree_with_the_plain_loop(name):
    """Also across transitions, where the tables change places and the old one is cleared."""
    workers, apply, gradients, _, updates, _ = random_rounds(name)
    plain = PlainRingleader(ROUNDS_OF[name][0], DIM)
    expected = [plain.arrive(worker, gradient)[0] for worker, gradient in zip(workers, gradients, strict=True)]
    assert [e is not None for e in expected] == apply.tolist()
    np.testing.assert_allclose(updates, [e for e in expected if e is not None], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ROUNDS_OF)
def test_every_worker_has_mean_weight_one_over_n_in_every_update(name):
    """The coefficients of worker i's gradients are equal and add up to 1/n, whatever their number."""
    n, workers, rows = ROUNDS_OF[name][0], random_rounds(name)[0], random_rounds(name)[3]
    assert max(np.bincount(workers[row != 0]).max() for row in rows) > 2
    for row in rows:
        np.testing.assert_allclose(np.bincount(workers, row, n), 1 / n, rtol=1e-13)
        np.testing.assert_allclose(row[row != 0], 1 / (n * np.bincount(workers[row != 0])[workers[row != 0]]), rtol=1e-13)


@pytest.mark.parametrize("name", ROUNDS_OF)
def test_nothing_is_lost_and_nothing_used_in_two_rounds(name):
    """Arrivals = the counts of all rounds + what waits for the next one; each gradient belongs to one round."""
    workers, _, _, rows, _, states = random_rounds(name)
    n, rounds = ROUNDS_OF[name]
    used = rows.reshape(rounds, n, -1) != 0
    in_round = used.any(1)
    assert in_round.sum(0).max() == 1
    np.testing.assert_array_equal(in_round, used[:, -1])  # what joins the table stays until the round ends
    assert in_round.sum() + states.ringleader_counts[-1].sum() == len(workers)


@pytest.mark.parametrize("name", ROUNDS_OF)
def test_every_worker_is_marked_once_per_round(name):
    """K = n * rounds steps, and each block of n steps is caused by all n workers."""
    workers, apply, *_, states = random_rounds(name)
    n, rounds = ROUNDS_OF[name]
    newly = np.diff(states.ringleader_marked.astype(int), axis=0, prepend=0)
    steps = (newly > 0).any(1) | (np.diff(states.ringleader_round, prepend=0) > 0)
    np.testing.assert_array_equal(steps, apply)
    assert np.count_nonzero(steps) == n * rounds
    assert states.ringleader_round[-1] == rounds
    np.testing.assert_array_equal(np.sort(workers[apply].reshape(rounds, n), axis=1), np.tile(np.arange(n), (rounds, 1)))


@pytest.mark.parametrize("name", ROUNDS_OF)
def test_phase_one_never_starts_full(name):
    """The worker marked last has no entry for the next round yet; the table that was used is empty."""
    workers, *_, states = random_rounds(name)
    ends = np.flatnonzero(np.diff(states.ringleader_round, prepend=0))
    assert len(ends) == ROUNDS_OF[name][1]
    for row in ends:
        now = states.ringleader_round[row] % 2
        assert states.ringleader_counts[row, now, workers[row]] == 0
        np.testing.assert_array_equal(states.ringleader_counts[row, 1 - now], 0)


@pytest.mark.usefixtures("x64")
def test_a_lone_ringleader_is_sgd():
    """Limit n = 1: every arrival is a round of its own."""
    schedule = asynchronous(fleet.exponential([1.0]), 40)
    run = simulated(rules.ringleader(0.2, 1), schedule)
    np.testing.assert_allclose(run.params, simulated(optax.sgd(0.2), schedule).params, rtol=0, atol=1e-14)


def test_ringleader_keeps_nothing_of_earlier_rounds():
    """A huge gradient leaves no rounding error when its table is used again two rounds later: ((3 + 5) / 2 + 1) / 2."""
    gradients = np.array([1e20, 1, 1e20, 1, 1, 1, 3, 5, 1], np.float32)[:, None]
    workers, apply = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1]), np.array([0, 1, 1, 0, 1, 1, 0, 0, 1], bool)
    updates, states = run_rows(rules.scale_by_ringleader(2), gradients, worker=workers, apply=apply)
    assert states.ringleader_round.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert updates[3:, 0].tolist() == [0, 1, 1, 0, 0, 2.5]


@pytest.mark.compiled_fully
@pytest.mark.parametrize("n", [2, 4, 8])
def test_at_the_optimum_without_noise_every_update_is_zero(n):
    """With x_0 = x* and sigma = 0 worker i's gradient is a constant c_i, sum_i c_i = 0: the update is 0 for ever."""
    workers, apply = ringleader_rows(n, 8, seed=n)
    slopes = np.random.default_rng(n).integers(-8, 9, (n, DIM)).astype(np.float32)
    slopes[-1] -= slopes.sum(0)  # whole numbers over a power of two: no rounding
    updates, _ = run_rows(rules.scale_by_ringleader(n), slopes[workers], worker=workers, apply=apply)
    assert np.abs(slopes).max() > 1
    np.testing.assert_array_equal(updates, 0)


def test_a_schedule_that_disagrees_with_the_arrivals_gets_zero():
    """A step that the schedule does not announce, or announces too early, moves nothing."""
    updates, _ = run_rows(
        rules.scale_by_ringleader(2),
        np.ones((4, 1), np.float32),
        worker=np.array([0, 0, 1, 0]),
        apply=np.array([True, False, False, True]),
    )
    assert updates[:, 0].tolist() == [0, 0, 0, 1]


def test_a_worker_outside_the_table_gives_nan():
    """An index out of range must not pass for a neighbour's row."""
    workers, apply = np.array([0, 7, 1]), np.array([False, False, True])
    updates, _ = run_rows(rules.scale_by_ringleader(2), np.ones((3, 1), np.float32), worker=workers, apply=apply)
    assert np.isnan(updates[2]).all()
