"""Methods without a server: their timing and arithmetic against slow event loops, and the cases that have another name."""

import decentralized_references as slow
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from decentralized_references import KEY, PROBLEM, flat_replicas, one_size
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import decentralized as dec
from jasgd import fleet, theory
from jasgd.decentralized import _table, topology

pytestmark = pytest.mark.compiled_quickly
STEP = 0.125
INF = np.inf
CLOSE = {"rtol": 1e-11, "atol": 1e-11}  # double precision, of numbers near one; weights below are powers of two
RING = np.array(
    [
        [0.5, 0.25, 0, 0, 0.25],
        [0.25, 0.5, 0.25, 0, 0],
        [0, 0.25, 0.5, 0.25, 0],
        [0, 0, 0.25, 0.5, 0.25],
        [0.25, 0, 0, 0.25, 0.5],
    ]
)
ONE_WAY = np.array(
    [[0.5, 0.5, 0, 0, 0], [0, 0.75, 0.25, 0, 0], [0.125, 0, 0.5, 0.375, 0], [0.25, 0.25, 0.25, 0.25, 0], [0, 0, 0, 0.5, 0.5]]
)


@st.composite
def fleets(draw, n=5):
    """Speeds with many ties, without, and random ones."""
    kind = draw(st.sampled_from(["whole", "real", "random"]))
    if kind == "whole":
        return fleet.fixed(draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=n, max_size=n)))
    means = draw(st.lists(st.floats(0.3, 4.0), min_size=n, max_size=n))
    return fleet.fixed(means) if kind == "real" else fleet.exponential(means)


@st.composite
def waits(draw, n=5):
    """Latencies: none, one for all, or a matrix in which some messages never arrive."""
    if draw(st.booleans()):
        return draw(st.sampled_from([0.0, 0.5, 1.0, 2.7, INF]))
    each = st.sampled_from([0.0, 0.3, 1.0, 1.7, 4.0, INF])
    return np.array(draw(st.lists(st.lists(each, min_size=n, max_size=n), min_size=n, max_size=n)))


seeds = st.integers(0, 5)


def same_events(execution, nodes):
    """Rows, in their order, and what had arrived by each."""
    columns = (getattr(execution, name).tolist() for name in ("node", "time", "job", "start"))
    assert list(zip(*columns, strict=True)) == nodes.events
    if hasattr(nodes, "mail"):
        messages, seconds = np.zeros(len(execution), int), np.zeros(len(execution))
        for before, to, wait in nodes.mail.arrived:
            row = next((k for k in range(before, len(execution)) if execution.node[k] == to), None)
            if row is not None:
                messages[row] += 1
                seconds[row] += wait
        np.testing.assert_array_equal(execution.messages, messages)
        np.testing.assert_allclose(execution.wire_seconds, seconds, rtol=1e-12)


def replicas_of(execution, rule=STEP):
    return slow.replay(execution, rule).replicas()


def sgd_alone(node, steps, step=STEP):
    x = slow.START
    for job in range(steps):
        x = x - step * slow.gradient(x, node, job)
    return x


def jobs_of(execution):
    return np.bincount(execution.node[execution.job >= 0], minlength=execution.num_nodes)


def check_independent(execution):
    """Every node is SGD on its own."""
    with jax.enable_x64(True):
        alone = [sgd_alone(i, steps) for i, steps in enumerate(jobs_of(execution))]
        np.testing.assert_allclose(replicas_of(execution), alone, **CLOSE)


# DASGD.


@settings(max_examples=80, deadline=None)
@given(made=fleets(), latencies=waits(), every=st.integers(1, 5), drain=st.booleans(), seed=seeds)
def test_dasgd_is_the_event_loop(made, latencies, every, drain, seed):
    """Rows, times and messages exactly, gradients applied in the same order, replicas to rounding."""
    chosen = {"latencies": latencies, "broadcast_every": every, "drain": drain, "seed": seed}
    execution = dec.dasgd(made, 40, **chosen)
    with jax.enable_x64(True):
        nodes = slow.dasgd(made, 40, **chosen, step=STEP)
        same_events(execution, nodes)
        for i in range(5):
            assert applied_by(execution, i) == nodes.applied[i]
        np.testing.assert_allclose(replicas_of(execution), nodes.x, **CLOSE)


def applied_by(execution, node):
    """(node, job) of all gradients, in the order in which a node has applied them."""
    by = np.repeat(execution.node, np.diff(execution.push_first))
    rows = -1 - execution.push[by == node]
    return list(zip(execution.node[rows].tolist(), execution.job[rows].tolist(), strict=True))


EXAMPLES_OF_DATA = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
# Samples are examples of a data set: random normal numbers differ in the last bit between loops that draw one and many.
DATA = jasgd.Problem(
    init=lambda key: {"b": jnp.float32(0.5), "w": jnp.array([1.0, -1.0])},
    loss=lambda x, i: jnp.sum(x["w"]),
    sample=lambda key, worker: jax.random.randint(key, (), 0, 50),
    metrics=lambda x: {"loss": jnp.sum(x["w"]) + x["b"], "grad_norm": x["b"]},
    gradient=lambda x, i: {
        "b": 0.7 * x["b"] - jnp.asarray(EXAMPLES_OF_DATA)[i, 0],
        "w": jnp.sin(x["w"]) + x["b"] * jnp.asarray(EXAMPLES_OF_DATA)[i, 1:],
    },
)


@pytest.mark.parametrize(
    ("rule", "tolerance"),
    [(optax.sgd(0.1), 0), (optax.sgd(0.1, momentum=0.9), 0), (optax.adam(0.02), 1e-6)],
    ids=["sgd", "momentum", "adam"],
)
def test_a_lone_node_is_plain_sgd_bit_for_bit(rule, tolerance):
    """All methods but R-FAST with n = 1 are the run with a server; Adam to rounding."""
    one, graph = fleet.fixed([1.5]), np.ones((1, 1))
    schedule = jasgd.protocols.asynchronous(one, 30)
    expected = jasgd.simulate(DATA, rule, schedule, key=KEY, lanes=1, every=10)
    executions = [
        dec.dasgd(one, 30, latencies=0.3),
        dec.ad_psgd(one, graph, 30),
        dec.agraf(one, [(4.5, graph)], 30),
        dec.swift(one, graph, 30),
        dec.adsgd(one, graph, 30),
        dec.delayed_gossip(one, graph, 30, delays=2),
        dec.local_sgd(one, graph, 5, local_steps=6),
    ]

    def same(found, known):
        np.testing.assert_allclose(found, known, rtol=0, atol=tolerance)

    for execution in executions[:2] if jax.tree.leaves(expected.rule_state) else executions:  # all of them with plain SGD
        with one_size():
            run = dec.simulate(DATA, rule, execution, key=KEY, lanes=1, every=10)
        jax.tree.map(lambda a, b: same(a[0], b), (run.params, run.rule_state), (expected.params, expected.rule_state))
        for name in ("version", "time", "loss"):
            same(run.history[name], expected.history[name])
        assert not np.any(run.history["consensus"])
        assert not np.any(run.history["uploaded_bytes"])
    assert not dec.staleness(executions[0]).missing.any()


def test_lock_step_is_minibatch_sgd_with_the_sum():
    """Equal speeds, no latency: n eta times the mean; nothing finished is missing; S = 0..n-1; replicas agree at starts."""
    n, rounds = 4, 8
    execution = dec.dasgd(fleet.equal(n), n * rounds, drain=True)
    found = dec.staleness(execution)
    assert found.missing.tolist() == list(range(n)) * rounds
    assert not found.finished.any()
    with jax.enable_x64(True):
        times = np.arange(1.0, rounds + 1)
        run = dec.simulate(PROBLEM, optax.sgd(STEP), execution, key=KEY, times=times, lanes=n)
        schedule = jasgd.protocols.minibatch(fleet.equal(n), rounds)
        other = jasgd.simulate(PROBLEM, optax.sgd(n * STEP), schedule, key=KEY, times=times)
        np.testing.assert_allclose(run.history["loss"], other.history["loss"], **CLOSE)
        np.testing.assert_array_less(run.history["consensus"], 1e-24)
        assert run.history["version"].tolist() == [n * t for t in range(rounds + 1)]


@pytest.mark.parametrize("latency", [0.01, 0.5, 0.99])
def test_a_latency_below_the_time_of_a_gradient_misses_one_round_of_the_others(latency):
    """From round one on S_done = n - 1, S = n - 1 + i, and two replicas differ by two gradients when they start."""
    n, rounds = 5, 6
    execution = dec.dasgd(fleet.equal(n), n * rounds, latencies=latency)
    found = dec.staleness(execution)
    assert found.missing[n:].tolist() == [n - 1 + i for _ in range(1, rounds) for i in range(n)]
    assert found.finished[n:].tolist() == [n - 1] * (n * (rounds - 1))
    for t in range(1, rounds):
        rows = int((execution.time <= t).sum())
        assert {dec.symmetric_difference(execution, i, j, rows) for i in range(n) for j in range(i)} == {2}


@settings(max_examples=40, deadline=None)
@given(made=fleets(), latencies=waits(), seed=seeds)
def test_drained_replicas_are_equal(made, latencies, seed):
    """Every message arrives: every gradient has been applied everywhere, once, and plain SGD ends in one point."""
    latencies = np.where(np.isfinite(latencies), latencies, 9.0)
    execution = dec.dasgd(made, 40, latencies=latencies, drain=True, seed=seed)
    everything = sorted(applied_by(execution, 0))
    assert len(set(everything)) == len(everything) == 40
    assert all(sorted(applied_by(execution, i)) == everything for i in range(5))
    assert not any(dec.symmetric_difference(execution, 0, i) for i in range(5))
    with jax.enable_x64(True):
        points = replicas_of(execution)
        np.testing.assert_allclose(points, np.stack([points[0]] * 5), **CLOSE)


@settings(max_examples=40, deadline=None)
@given(made=fleets(), latencies=waits(), every=st.integers(1, 3), seed=seeds)
def test_reads_are_the_virtual_iterate_without_what_is_missing(made, latencies, every, seed):
    """z_k = x_0 - eta sum_{s<k} g_s + eta sum_{M_k} g_s, with the sets of the event loop, as large as `staleness` says."""
    execution = dec.dasgd(made, 40, latencies=latencies, broadcast_every=every, seed=seed)
    found = dec.staleness(execution)
    with jax.enable_x64(True):
        nodes, made_by = (
            slow.dasgd(made, 40, latencies=latencies, broadcast_every=every, seed=seed, step=STEP),
            slow.replay(execution, STEP),
        )
    names = [(int(execution.node[k]), int(execution.job[k])) for k in found.rows]
    assert [nodes.reads[name][0] for name in names] == sorted(start for start, _ in nodes.reads.values())
    for k, row in enumerate(found.rows):
        missing = [s for s in range(k) if names[s] not in nodes.reads[names[k]][1]]
        assert len(missing) == found.missing[k]
        virtual = slow.START - STEP * sum((made_by.gradients[r] for r in found.rows[:k]), np.zeros(3))
        z = virtual + STEP * sum((made_by.gradients[found.rows[s]] for s in missing), np.zeros(3))
        np.testing.assert_allclose(made_by.vectors[execution.read[row]], z, **CLOSE)


def test_without_any_message_nodes_are_alone():
    """Infinite latency: n independent runs, and nothing ever arrives."""
    execution = dec.dasgd(fleet.exponential([1.0, 2.0, 0.5]), 60, latencies=INF, drain=True)
    check_independent(execution)
    assert not execution.messages.any()


SIX = fleet.fixed([1, 1.3, 2.1, 4, 0.7, 3.3])


@pytest.mark.parametrize("every", [1, 2, 3, 6])
def test_fewer_broadcasts_send_fewer_messages(every):
    """One message to each other node per `broadcast_every` gradients of a node; what is incomplete stays."""
    execution = dec.dasgd(SIX, 600, latencies=0.5, broadcast_every=every, drain=True)
    assert execution.messages.sum() == 5 * (jobs_of(execution) // every).sum()
    assert execution.wire_seconds.sum() == pytest.approx(0.5 * execution.messages.sum())
    calls = np.bincount(execution.node, minlength=6)  # one call of the rule per own gradient and per message
    np.testing.assert_array_equal(
        calls, jobs_of(execution) + (jobs_of(execution) // every).sum() - jobs_of(execution) // every
    )


def test_fewer_broadcasts_are_staler():
    """Six nodes, latencies U(0.1, 2): about 8.5 gradients are missing on average, and about 21 with six per message."""
    averages = []
    for every in (1, 6):
        draws = [np.random.default_rng(i).uniform(0.1, 2, (6, 6)) for i in range(6)]
        stale = [dec.staleness(dec.dasgd(SIX, 2500, latencies=d, broadcast_every=every)).missing.mean() for d in draws]
        averages.append(np.mean(stale))
    assert averages == [pytest.approx(8.5, abs=0.7), pytest.approx(21, abs=1.5)]


def test_both_bounds_hold():
    """Mean squared gradient at the reads of 2500 gradients, six nodes, a noisy quadratic: below both, and not by far."""
    d, noise, count = 10, 0.3, 2500
    A = (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)) / 4
    A += (0.01 - np.linalg.eigvalsh(A)[0]) * np.eye(d)
    b, x0 = -np.eye(d)[0] / 4, np.sqrt(d) * np.eye(d)[0]
    best = np.linalg.solve(A, b)
    gap, smoothness = (x0 - best) @ A @ (x0 - best) / 2, np.linalg.eigvalsh(A)[-1]
    rng = np.random.default_rng(1)
    execution = dec.dasgd(SIX, count, latencies=rng.uniform(0.1, 2, (6, 6)))
    stale = dec.staleness(execution)
    step = theory.dasgd_step_size(smoothness, stale.missing, stale.missed)
    vectors, gradients, exact = [x0] * 6, {}, []
    for k, push in enumerate(execution.push.tolist()):  # one gradient per row
        if execution.job[k] >= 0:
            exact.append(A @ vectors[execution.read[k]] - b)
            gradients[k] = exact[-1] + noise * rng.normal(size=d)
        vectors.append(vectors[execution.current[k]] - step * gradients[-1 - push])
    squares = np.sum(np.square(exact), axis=1)
    facts = {"smoothness": smoothness, "gap": gap, "noise": noise * np.sqrt(d)}
    one = theory.dasgd_bounded_gradient_bound(step, stale.missing, gradient_bound=np.sqrt(squares.max()), **facts)
    two = theory.dasgd_bound(step, stale.missing, stale.missed, **facts)
    assert squares.mean() <= min(one, two)
    assert max(one, two) <= 20 * squares.mean()


# All methods, end to end.

EXAMPLES = {
    "dasgd": lambda made: dec.dasgd(made, 24, latencies=0.4, broadcast_every=2),
    "ad_psgd": lambda made: dec.ad_psgd(made, RING, 40),
    "agraf": lambda made: dec.agraf(made, dec.poisson_gossip(RING, 0.3), 40),
    "swift": lambda made: dec.swift(made, ONE_WAY, 60, latencies=0.4, average_every=2, only_new=True),
    "adsgd": lambda made: dec.adsgd(made, ONE_WAY, 60, latencies=0.4),
    "local_sgd": lambda made: dec.local_sgd(made, ONE_WAY, 6, local_steps=2),
    "delayed_gossip": lambda made: dec.delayed_gossip(made, ONE_WAY, 12, delays=2),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_compiled_methods_equal_their_tables(name):
    """The replay that the tests here use is what `simulate` computes."""
    execution = EXAMPLES[name](fleet.exponential([1.0, 0.7, 1.6, 2.0, 0.4]))
    with jax.enable_x64(True), one_size():
        run = dec.simulate(PROBLEM, optax.sgd(STEP), execution, key=KEY, lanes=3, every=1000)
        np.testing.assert_allclose(flat_replicas(run), replicas_of(execution), **CLOSE)


# AD-PSGD.


def partners_of(execution):
    """Of every gradient the node with which its node averages, or None."""
    rows = np.flatnonzero(execution.job >= 0)
    after = np.append(rows[1:], len(execution))
    assert np.all(after - rows <= 2)
    return [int(execution.node[row + 1]) if end - row == 2 else None for row, end in zip(rows, after, strict=True)]


@settings(max_examples=60, deadline=None)
@given(made=fleets(), seed=seeds, hubs=st.booleans())
def test_ad_psgd_is_the_event_loop(made, seed, hubs):
    """Rows and times exactly, replicas to rounding; only neighbours meet."""
    graph = topology.star(5) if hubs else topology.ring(5)
    execution = dec.ad_psgd(made, graph, 40, seed=seed)
    partners = partners_of(execution)
    owners = execution.node[execution.job >= 0].tolist()
    assert all(graph.has_edge(i, j) for i, j in zip(owners, partners, strict=True))
    with jax.enable_x64(True):
        nodes = slow.ad_psgd(made, 40, lambda k: partners[k], seed=seed, step=STEP)
        same_events(execution, nodes)
        np.testing.assert_allclose(replicas_of(execution), nodes.x, **CLOSE)
    assert (execution.messages == 1).all()
    assert not execution.wire_seconds.any()


def test_a_gradient_moves_the_mean_by_its_nth_part():
    """AD-PSGD: every event moves it by -(gamma / n) g; AGRAF: averages leave it where it is."""
    made = fleet.exponential([1.0, 0.7, 1.6, 2.0, 0.4])
    for execution in (dec.ad_psgd(made, np.ones((5, 5)), 40), dec.agraf(made, dec.poisson_gossip(RING, 1.0), 40)):
        with jax.enable_x64(True):
            found = slow.replay(execution, STEP)
        ends = [k for k in range(1, len(execution)) if execution.time[k] > execution.time[k - 1]]
        for begin, end in zip([0, *ends], [*ends, len(execution)], strict=True):
            moved = found.replicas(end).mean(axis=0) - found.replicas(begin).mean(axis=0)
            rows = [k for k in range(begin, end) if execution.job[k] >= 0]
            assert len(rows) <= 1
            np.testing.assert_allclose(moved, -STEP / 5 * sum((found.gradients[k] for k in rows), np.zeros(3)), **CLOSE)


def test_averages_with_weights_that_are_no_powers_of_two_keep_the_mean():
    """In double precision, over 500 rounds of thirds; the weights are as precise as the parameters."""
    execution = dec.local_sgd(fleet.equal(3), np.full((3, 3), 1 / 3), 500)
    with jax.enable_x64(True):
        run = dec.simulate(PROBLEM, optax.sgd(0.0), execution, key=KEY, lanes=3)
        np.testing.assert_allclose(flat_replicas(run), np.stack([slow.START] * 3), rtol=1e-12)


def test_neighbours_are_drawn_evenly():
    """Each of the three others in a third of the cases, within 5 standard errors; another seed, other partners."""
    execution = dec.ad_psgd(fleet.equal(4), np.ones((4, 4)), 3000)
    partners, owners = np.array(partners_of(execution)), execution.node[execution.job >= 0]
    for i in range(4):
        counts = np.bincount(partners[owners == i], minlength=4)
        assert counts[i] == 0
        np.testing.assert_allclose(np.delete(counts, i), 250, atol=5 * np.sqrt(750 * 2 / 9))
    assert partners_of(dec.ad_psgd(fleet.equal(4), np.ones((4, 4)), 3000, seed=1)) != partners.tolist()


# SWIFT and ADSGD.


@settings(max_examples=60, deadline=None)
@given(made=fleets(), latencies=waits(), every=st.integers(1, 3), only_new=st.booleans(), one_way=st.booleans(), seed=seeds)
def test_swift_is_the_event_loop(made, latencies, every, only_new, one_way, seed):
    """Rows, times and messages exactly, replicas to rounding, also with weights in one direction only."""
    chosen = {"latencies": latencies, "average_every": every, "only_new": only_new, "seed": seed}
    weights = ONE_WAY if one_way else RING
    execution = dec.swift(made, weights, 43, **chosen)
    with jax.enable_x64(True):
        nodes = slow.swift(made, weights, 43, **chosen, step=STEP)
        same_events(execution, nodes)
        np.testing.assert_allclose(replicas_of(execution), nodes.x, **CLOSE)


def test_long_averages_are_sums_of_sums(monkeypatch):
    """No row has more terms than allowed, its gradient stays its own, and replicas are the event loop's."""
    monkeypatch.setattr(_table, "_MOST_TERMS", 3)
    made, weights = fleet.lognormal(np.zeros(8), 0.5), np.full((8, 8), 1 / 8)
    for method in ("swift", "adsgd"):
        execution = getattr(dec, method)(made, weights, 43, latencies=0.1)
        assert np.diff(execution.mix_first).max() == 3
        with jax.enable_x64(True):
            nodes = getattr(slow, method)(made, weights, 43, latencies=0.1, step=STEP)
            np.testing.assert_allclose(replicas_of(execution), nodes.x, **CLOSE)
    tracked = dec.r_fast(made, weights, weights, 43, latencies=0.1)
    assert np.diff(tracked.mix_first).max() == 4  # three, and the gradient of the row itself
    computes = np.flatnonzero(tracked.job >= 0)
    for k in computes:
        assert -1 - k in tracked.mix[tracked.mix_first[k] : tracked.mix_first[k + 1]]


@settings(max_examples=60, deadline=None)
@given(made=fleets(), latencies=waits(), one_way=st.booleans(), seed=seeds)
def test_adsgd_is_the_event_loop(made, latencies, one_way, seed):
    """Rows, times and messages exactly, replicas to rounding, also with weights in one direction only."""
    weights = ONE_WAY if one_way else RING
    execution = dec.adsgd(made, weights, 43, latencies=latencies, seed=seed)
    with jax.enable_x64(True):
        nodes = slow.adsgd(made, weights, 43, latencies=latencies, seed=seed, step=STEP)
        same_events(execution, nodes)
        np.testing.assert_allclose(replicas_of(execution), nodes.x, **CLOSE)


@pytest.mark.parametrize("weights", [RING, ONE_WAY], ids=["ring", "one way"])
def test_at_equal_speeds_without_latency_it_is_decentralized_sgd(weights):
    """SWIFT, its memory-efficient form, ADSGD and gossip with delay 0: X <- W X - gamma G(X)."""
    made, rounds = fleet.equal(5), 9
    executions = [
        dec.swift(made, weights, 5 * rounds),
        dec.swift(made, weights, 5 * rounds, only_new=True),
        dec.adsgd(made, weights, 5 * rounds),
        dec.delayed_gossip(made, weights, rounds),
    ]
    with jax.enable_x64(True):
        expected = slow.in_rounds(5, rounds, lambda t: weights, mix_first=True, step=STEP)[-1]
        # ADSGD sends after the step, and in the round after that everybody has it
        for execution in executions:
            np.testing.assert_allclose(replicas_of(execution), expected, **CLOSE)


def test_swift_that_never_averages_is_sgd_of_every_node_alone():
    """No neighbours, rare averages, or nothing new: n independent runs."""
    made = fleet.exponential([1.0, 0.7, 1.6, 2.0, 0.4])
    check_independent(dec.swift(made, np.eye(5), 60))
    check_independent(dec.swift(made, RING, 60, average_every=1000))
    check_independent(dec.swift(made, RING, 60, latencies=INF, only_new=True))
    check_independent(dec.adsgd(made, np.eye(5), 60))


def test_nodes_that_never_answer_do_not_stop_the_others():
    """Wait-free methods and pairwise averages go on without them; their models stay what they were, or are averaged."""
    made = fleet.fixed([1.0, INF, 1.5, 1.0, 1.0])
    executions = [
        dec.swift(made, RING, 20),
        dec.adsgd(made, RING, 20),
        dec.ad_psgd(made, RING, 20),
        dec.agraf(made, dec.poisson_gossip(RING, 1.0), 20),
    ]
    for execution in executions:
        assert jobs_of(execution)[1] == 0
        assert jobs_of(execution).sum() == 20


# Rounds.


@settings(max_examples=30, deadline=None)
@given(made=fleets(), local_steps=st.integers(1, 3), latency=st.sampled_from([0.0, 0.3]), seed=seeds)
def test_local_sgd_is_matrices_and_waits_for_the_slowest(made, local_steps, latency, seed):
    """X <- W^t (X - eta G) with weights that take turns; rounds end with the last node, then comes the exchange."""
    turns, rounds = [RING, np.eye(5), ONE_WAY], 5
    chosen = {"local_steps": local_steps, "latency": latency, "seed": seed}
    execution = dec.local_sgd(made, np.stack(turns), rounds, **chosen)
    with jax.enable_x64(True):
        points = slow.in_rounds(5, rounds, lambda t: turns[t % 3], local_steps=local_steps, mix_first=False, step=STEP)
        found, per_round = slow.replay(execution, STEP), 5 * (local_steps + 1)
        for t in range(rounds + 1):
            np.testing.assert_allclose(found.replicas(t * per_round), points[t], **CLOSE)
    durations = np.stack([made.durations(i, rounds * local_steps, seed=seed) for i in range(5)])
    now = 0.0
    for t in range(rounds):
        ends = now + np.cumsum(durations[:, t * local_steps : (t + 1) * local_steps], axis=1)
        rows = slice(t * per_round, (t + 1) * per_round)
        computing = execution.job[rows] >= 0
        np.testing.assert_allclose(execution.time[rows][computing], np.sort(ends.ravel()), rtol=1e-12)
        begins = np.concatenate([np.full((5, 1), now), ends[:, :-1]], axis=1)
        np.testing.assert_allclose(np.sort(execution.start[rows][computing]), np.sort(begins.ravel()), rtol=1e-12)
        now = ends.max() + latency
        np.testing.assert_allclose(execution.time[rows][~computing], now, rtol=1e-12)
        heard = (turns[t % 3] > 0).sum(axis=1) - 1
        np.testing.assert_array_equal(execution.messages[rows][~computing], heard)
        np.testing.assert_allclose(execution.wire_seconds[rows][~computing], latency * heard)


@pytest.mark.parametrize("local_steps", [1, 2])
def test_averaging_all_in_every_round_is_minibatch_sgd(local_steps):
    """W = J: with one local step minibatch SGD with a server; with more it is not."""
    execution = dec.local_sgd(fleet.equal(4), np.full((4, 4), 0.25), 8, local_steps=local_steps)
    schedule = jasgd.protocols.minibatch(fleet.equal(4), 8 * local_steps)
    with jax.enable_x64(True):
        server = jasgd.simulate(PROBLEM, optax.sgd(STEP), schedule, key=KEY)
        points = replicas_of(execution)
        np.testing.assert_allclose(points, np.stack([points[0]] * 4), **CLOSE)
        expected = np.concatenate([server.params["b"][None], server.params["w"]])
        if local_steps == 1:
            np.testing.assert_allclose(points[0], expected, **CLOSE)
        else:
            assert np.abs(points[0] - expected).max() > 1e-4


@settings(max_examples=30, deadline=None)
@given(
    made=fleets(),
    delays=st.integers(0, 3) | st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=5, max_size=5),
    seed=seeds,
)
def test_delayed_gossip_is_matrices_with_a_memory(made, delays, seed):
    """x_i <- sum_j w_ij x_j(t - d_ij) - gamma g_i(x_i(t)) for any d_ij, the start before round 0; one's own is not late."""
    delays, rounds = np.array(delays), 8
    execution = dec.delayed_gossip(made, ONE_WAY, rounds, delays=delays, seed=seed)
    with jax.enable_x64(True):
        points = slow.in_rounds(5, rounds, lambda t: ONE_WAY, delays=delays, mix_first=True, step=STEP)
        found = slow.replay(execution, STEP)
        for t in range(rounds + 1):
            np.testing.assert_allclose(found.replicas(5 * t), points[t], **CLOSE)
    durations = np.stack([made.durations(i, rounds, seed=seed) for i in range(5)])
    np.testing.assert_allclose(execution.time, np.repeat(np.cumsum(durations.max(axis=0)), 5), rtol=1e-12)


# Refusals.

THREE, THIRDS = fleet.equal(3), np.full((3, 3), 1 / 3)
NOBODY, SOMEBODY = fleet.fixed([INF] * 3), fleet.fixed([1.0, INF, 1.0])
ONLY_THERE = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
HEAVY = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.0, 0.0, 1.0]])
REFUSED = [
    *[
        (lambda f=f: f(0), f"`{name}` must be at least 1, got 0")
        for name, f in {
            "gradients": lambda v: dec.dasgd(THREE, v),
            "broadcast_every": lambda v: dec.dasgd(THREE, 3, broadcast_every=v),
            "average_every": lambda v: dec.swift(THREE, THIRDS, 3, average_every=v),
            "rounds": lambda v: dec.local_sgd(THREE, THIRDS, v),
            "local_steps": lambda v: dec.local_sgd(THREE, THIRDS, 3, local_steps=v),
        }.items()
    ],
    (lambda: dec.ad_psgd(THREE, THIRDS, 2.5), "`gradients` must be a whole number, got 2.5"),
    (lambda: dec.swift(THREE, THIRDS, 0), "`gradients` must be at least 1"),
    (lambda: dec.adsgd(THREE, THIRDS, 0), "`gradients` must be at least 1"),
    (lambda: dec.delayed_gossip(THREE, THIRDS, 0), "`rounds` must be at least 1"),
    # latencies
    *[
        (lambda f=f: f(np.zeros((2, 3))), r"`latencies` must be one number or of shape \(3, 3\), got shape \(2, 3\)")
        for f in (
            lambda v: dec.dasgd(THREE, 3, latencies=v),
            lambda v: dec.swift(THREE, THIRDS, 3, latencies=v),
            lambda v: dec.adsgd(THREE, THIRDS, 3, latencies=v),
        )
    ],
    (lambda: dec.dasgd(THREE, 3, latencies=-0.5), "`latencies` must not be negative, got -0.5"),
    (lambda: dec.dasgd(THREE, 3, latencies=np.nan), "`latencies` must not be negative, got nan"),
    (lambda: dec.local_sgd(THREE, THIRDS, 3, latency=-1.0), "`latency` must be a number of seconds, not negative"),
    (lambda: dec.local_sgd(THREE, THIRDS, 3, latency=INF), "`latency` must be a number of seconds"),
    *[
        (lambda v=v: dec.delayed_gossip(THREE, THIRDS, 3, delays=v), "`delays` must be whole, not negative")
        for v in (-1, 0.5, np.zeros((2, 2), int), np.full((3, 3), -1))
    ],
    # graphs and weights
    *[
        (lambda g=g: dec.ad_psgd(THREE, g, 3), "must link 3 nodes symmetrically")
        for g in (ONLY_THERE, np.ones((4, 4)), np.ones(3), topology.ring(4))
    ],
    (lambda: dec.ad_psgd(fleet.equal(4), topology.exponential(4), 3), "the graph must not be directed"),
    *[
        (lambda f=f: f(HEAVY), "rows of `weights` must sum to one, but that of node 1 sums to 1.5")
        for f in (
            lambda w: dec.swift(THREE, w, 3),
            lambda w: dec.adsgd(THREE, w, 3),
            lambda w: dec.local_sgd(THREE, w, 3),
            lambda w: dec.local_sgd(THREE, np.stack([THIRDS, w]), 3),
            lambda w: dec.delayed_gossip(THREE, w, 3),
        )
    ],
    (lambda: dec.swift(THREE, np.ones((2, 2)) / 2, 3), r"expected \(3, 3\) finite numbers, got shape \(2, 2\)"),
    (lambda: dec.local_sgd(THREE, np.ones(3) / 3, 3), r"expected \(3, 3\) finite numbers"),
    (lambda: dec.local_sgd(THREE, np.zeros((0, 3, 3)), 3), r"expected \(3, 3\) finite numbers"),
    (lambda: dec.adsgd(THREE, np.full((3, 3), np.nan), 3), r"expected \(3, 3\) finite numbers"),
    # nobody answers
    (lambda: dec.dasgd(SOMEBODY, 3), "node 1 never answers, but DASGD waits for all 3 gradients"),
    (lambda: dec.ad_psgd(NOBODY, THIRDS, 3), "never answer"),
    (lambda: dec.swift(NOBODY, THIRDS, 3), "no node answers any more"),
    (lambda: dec.adsgd(NOBODY, THIRDS, 3), "no node answers any more"),
    (lambda: dec.local_sgd(SOMEBODY, THIRDS, 3), "node 1 never answers in round 0"),
    (lambda: dec.delayed_gossip(SOMEBODY, THIRDS, 3), "node 1 never answers in round 0"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_makes_no_execution_is_refused(call, sentence):
    """One clear sentence each."""
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
