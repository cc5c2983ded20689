"""The engine for replicas equals a plain replay of the table; records, measures and refusals."""

import dataclasses
import itertools

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
from jasgd.decentralized import simulation
from jasgd.decentralized.plan import plan

pytestmark = pytest.mark.compiled_quickly
N, ROWS = 5, 48


def telling():
    """A rule that looks at everything it may be told."""

    def update(g, state, params, *, worker, step, time, duration, **extra):
        new = jax.tree.map(
            lambda u, x: -0.1 * u * (1 + 0.1 * worker) - 0.01 * step - 0.001 * time * x + 0.003 * duration, g, params
        )
        return new, state + step

    return optax.GradientTransformationExtraArgs(lambda params: jnp.zeros((), jnp.int32), update)


SGD = optax.sgd(0.1)
MOMENTUM = optax.sgd(0.1, momentum=0.5)
ADAM = optax.adam(0.05)
CLIPPED = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))
TELLING = telling()


def drawn_table(seed, rows=ROWS, n=N):
    """A table that uses everything that a table may have."""
    rng = np.random.default_rng(seed)
    computes = rng.random(rows) < 0.6
    time = np.cumsum(rng.choice([0.0, 0.5, 1.0], rows)) + 0.5
    job, jobs, node = np.full(rows, -1), [0] * n, rng.integers(0, n, rows)
    for k in np.flatnonzero(computes):
        job[k] = jobs[node[k]]
        jobs[node[k]] += 1

    def vector(k):
        return int(rng.integers(n + k) if rng.random() < 0.3 else rng.integers(max(0, n + k - 6), n + k))

    def terms(most, k):
        found = []
        for _ in range(rng.integers(0, most + 1)):
            known = np.flatnonzero(computes[: k + 1])
            use_gradient = len(known) and rng.random() < 0.5
            found.append(-1 - int(rng.choice(known[-5:])) if use_gradient else vector(k))
        return found

    mix, push = [terms(4, k) for k in range(rows)], [terms(3, k) for k in range(rows)]
    mix[-1], push[-1] = [vector(rows - 1) for _ in range(4)], [vector(rows - 1) for _ in range(3)]  # one shape for all
    return dec.Execution(
        node=node,
        time=time,
        job=job,
        read=[vector(k) if computes[k] else -1 for k in range(rows)],
        start=np.where(computes, time * rng.random(rows), time),
        replica=rng.random(rows) < 0.7,
        mix_first=np.cumsum([0, *map(len, mix)]),
        mix=np.array([*itertools.chain(*mix)], np.int64),
        mix_weight=rng.uniform(-0.6, 0.6, sum(map(len, mix))),
        push_first=np.cumsum([0, *map(len, push)]),
        push=np.array([*itertools.chain(*push)], np.int64),
        push_weight=rng.uniform(-1, 1, sum(map(len, push))),
        num_nodes=n,
        messages=rng.integers(0, 4, rows),
        wire_seconds=rng.random(rows),
    ).verify()


def in_one(tree):
    """All numbers of a tree; the parts b, w of a point come in this order."""
    return np.concatenate([np.zeros(0), *map(np.ravel, jax.tree.leaves(tree))])


def simulated(execution, rule, **chosen):
    with one_size():
        return dec.simulate(PROBLEM, rule, execution, key=KEY, **chosen)


seeds = st.integers(0, 2**32 - 1)


# The engine.


@pytest.mark.parametrize(
    ("rule", "lanes"),
    [(SGD, 1), (MOMENTUM, 3), (ADAM, 8), (CLIPPED, 3), (TELLING, 8)],
    ids=["sgd", "momentum", "adam", "clip", "telling"],
)
@settings(max_examples=8, deadline=None)
@given(seed=seeds, every=st.sampled_from([None, 1, 7]))
def test_engine_equals_a_replay_of_the_table(rule, lanes, seed, every):
    """Replicas and states of the rule, to 1e-11 in double precision, on tables with everything in them."""
    table = drawn_table(seed)
    with jax.enable_x64(True):
        run, expected = simulated(table, rule, lanes=lanes, every=every), slow.replay(table, rule)
        np.testing.assert_allclose(flat_replicas(run), expected.replicas(), rtol=1e-11, atol=1e-11)
        for i in range(N):
            mine = jax.tree.map(lambda leaf, i=i: leaf[i], run.rule_state)
            np.testing.assert_allclose(in_one(mine), in_one(expected.states[i]), rtol=1e-11, atol=1e-11)


@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_engine_in_single_precision(seed):
    """As above, to the rounding of 48 rows."""
    table = drawn_table(seed)
    run, expected = simulated(table, MOMENTUM, lanes=3), slow.replay(table, MOMENTUM)
    largest = max(np.abs(x).max() for x in [*expected.vectors, *expected.gradients.values()])
    assert flat_replicas(run).dtype == np.float32
    np.testing.assert_allclose(flat_replicas(run), expected.replicas(), rtol=0, atol=ROWS * 2**-23 * largest)


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_neither_lanes_nor_records_nor_chunks_matter(seed):
    """To 1e-13: lanes 1, 3, 8; all records or none; chunks of two steps."""
    table = drawn_table(seed)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        runs = [simulated(table, SGD, lanes=1)]
        runs += [simulated(table, SGD, lanes=3), simulated(table, SGD, lanes=8), simulated(table, SGD, lanes=3, every=1)]
        patch.setattr(simulation, "_CHUNK_STEPS", 2)
        runs += [simulated(table, SGD, lanes=1, every=5), simulated(table, SGD, lanes=3, times=[3.0, 3.1])]
        for run in runs[1:]:
            np.testing.assert_allclose(flat_replicas(run), flat_replicas(runs[0]), rtol=1e-13, atol=1e-13)


@settings(max_examples=200, deadline=None)
@given(seed=seeds, lanes=st.integers(1, 9), rows=st.integers(1, 60), data=st.data())
def test_slots_are_never_mixed_up(seed, lanes, rows, data):
    """A pool that holds the names of values: whoever reads a slot finds there what the table names."""
    table = drawn_table(seed, rows=rows)
    records = sorted(data.draw(st.sets(st.integers(0, rows))) | {rows})
    made = plan(table, lanes, records)
    pool = dict.fromkeys(range(made.slots + 1 + lanes))
    for i in range(N):
        pool[made.initial_slot[i]] = i
    asked = [[] for _ in range(N)]
    for step in range(made.steps + 1):
        for end, after, slots in zip(made.ends, records, made.record_slots, strict=True):
            if end == step:
                assert [pool[s] for s in slots] == table.replicas_after(after).tolist()
        computed = [k for k in range(rows) if table.job[k] >= 0 and made.step[k] == step]
        assert len({int(made.lane[k]) for k in computed}) == len(computed) <= lanes
        assert all(pool[made.read_slot[k]] == table.read[k] for k in computed)
        for k in computed:
            pool[made.slots + 1 + made.lane[k]] = -1 - k
        for k in computed:
            if made.store_slot[k] < made.slots:
                pool[made.store_slot[k]] = -1 - k
        now = [k for k in range(rows) if made.applied[k] == step]
        for asks, room in ((True, made.asking), (False, made.mixing)):
            places = made.place[[k for k in now if table.asks[k] == asks]]
            assert sorted(places.tolist()) == list(range(len(places)))
            assert len(places) <= room
        if made.direct:
            assert all(made.applied[k] == step and made.place[k] == made.lane[k] for k in computed)
        for k in now:
            for name in ("mix", "push"):
                first, value, slot = (getattr(table, f"{name}_first"), getattr(table, name), getattr(made, f"{name}_slot"))
                assert all(pool[slot[e]] == value[e] for e in range(first[k], first[k + 1]))
        for k in now:
            pool[made.write_slot[k]] = N + k
        asking = [k for k in now if table.push_first[k + 1] > table.push_first[k]]
        assert len({int(table.node[k]) for k in asking}) == len(asking)  # a node's rule is asked once per step
        for k in asking:
            asked[table.node[k]].append(k)
    assert made.applied.max() == made.steps - 1
    assert max(made.ends) <= made.steps
    asks = np.diff(table.push_first) > 0
    for i in range(N):
        assert asked[i] == np.flatnonzero(asks & (table.node == i)).tolist()


def test_many_lives_in_shapes_of_their_own():
    """Without the common shapes: 120 gradients of DASGD, recorded often, chunks of 16 steps, lanes by default."""
    execution = dec.dasgd(jasgd.fleet.exponential([1.0, 1.3, 2.1, 4.0, 0.7]), 120, latencies=0.8, broadcast_every=2)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "_CHUNK_STEPS", 16)
        run = dec.simulate(PROBLEM, ADAM, execution, key=KEY, every=25)
        np.testing.assert_allclose(flat_replicas(run), slow.replay(execution, ADAM).replicas(), rtol=1e-11, atol=1e-11)
    assert run.lanes >= 1
    assert run.steps > 4 * 16


def test_lanes_are_used():
    """Five nodes that average in 6 rounds: a step for gradients, one for averages; with one lane at least 30."""
    execution = dec.local_sgd(jasgd.fleet.equal(5), np.full((5, 5), 0.2), 6)
    assert plan(execution, 5).steps == 12
    assert plan(execution, 1).steps >= 30


@pytest.mark.compiled_fully
def test_parameters_keep_their_dtypes():
    """Half and single precision in one model, and updates in single precision; a lone node is the same as with a server."""

    def update(g, state, params=None, **extra):
        return jax.tree.map(lambda u: -0.1 * u.astype(jnp.float32), g), state

    rule = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    problem = dataclasses.replace(
        jasgd.problems.quadratic(4),
        init=lambda key: {"half": jnp.ones(4, jnp.float16), "brain": jnp.ones((), jnp.bfloat16), "single": jnp.ones((2, 3))},
        gradient=lambda params, batch: jax.tree.map(jnp.sin, params),
        metrics=lambda params: {"loss": params["brain"], "grad_norm": params["single"][0, 0]},
    )
    one, server = jasgd.fleet.equal(1), jasgd.protocols.asynchronous(jasgd.fleet.equal(1), 6)
    expected = jasgd.simulate(problem, rule, server, key=KEY, lanes=1).params
    found = dec.simulate(problem, rule, dec.dasgd(one, 6), key=KEY, lanes=1).params
    assert jax.tree.map(lambda leaf: leaf.dtype, found) == jax.tree.map(lambda leaf: leaf.dtype, expected)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), found, expected)


# Records.


@settings(max_examples=8, deadline=None)
@given(seed=seeds, every=st.sampled_from([1, 3, 10, 1000]))
def test_history_at_every_so_many_gradients(seed, every):
    """After all that happens at the time at which the number is reached: mean, consensus, gradients, bytes, seconds."""
    table = drawn_table(seed)
    ends = [k + 1 for k in range(ROWS) if k == ROWS - 1 or table.time[k + 1] > table.time[k]]
    count = [int((table.job[:rows] >= 0).sum()) for rows in ends]
    wanted = {0, ROWS} | {
        next(e for e, c in zip(ends, count, strict=True) if c >= m) for m in range(every, count[-1], every)
    }
    with jax.enable_x64(True):
        check_history(simulated(table, SGD, lanes=3, every=every), table, sorted(wanted), None)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, data=st.data())
def test_history_at_times(seed, data):
    """At time t all rows up to t have happened; times may coincide with rows, repeat, and lie between them."""
    table = drawn_table(seed)
    end = float(table.time[-1])
    drawn = st.sampled_from(table.time.tolist()) | st.floats(0.1, max(end, 0.2))
    times = sorted(min(t, end) for t in data.draw(st.lists(drawn, max_size=6)))
    full = [0.0, *[t for t in times if t < end], end]
    rows = [0] + [sum(table.time <= t) for t in full[1:]]
    with jax.enable_x64(True):
        check_history(simulated(table, SGD, lanes=3, times=times), table, rows, full)


def check_history(run, table, rows, times):
    expected, history = slow.replay(table, SGD), run.history
    points = [expected.replicas(r) for r in rows]
    means = [x.mean(axis=0) for x in points]
    close = {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(history["loss"], [np.sum(m**2) for m in means], **close)
    spread = [np.mean(np.sum((x - m) ** 2, axis=1)) for x, m in zip(points, means, strict=True)]
    np.testing.assert_allclose(history["consensus"], spread, **close)
    assert history["version"].tolist() == [int((table.job[:r] >= 0).sum()) for r in rows]
    assert history["time"].tolist() == (times or [float(table.time[r - 1]) if r else 0.0 for r in rows])
    assert history["uploaded_bytes"].tolist() == [24.0 * table.messages[:r].sum() for r in rows]
    np.testing.assert_allclose(history["wire_seconds"], [table.wire_seconds[:r].sum() for r in rows], rtol=1e-12)
    np.testing.assert_allclose(flat_replicas(run), points[-1], **close)
    assert not run.diverged


def test_a_diverged_run_stops_and_returns_where_it_stopped():
    """The last record is the first that is not finite; all replicas are those of that moment, not of the end."""

    def update(g, state, params=None, *, worker, step, **extra):
        broken = (worker == 1) & (step == 12)
        return jax.tree.map(lambda u: jnp.where(broken, jnp.nan, -0.1 * u), g), state

    rule = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    execution = dec.dasgd(jasgd.fleet.fixed([1.0, 1.3, 0.7, 2.0, 1.7]), 100, latencies=np.inf)
    with jax.enable_x64(True):
        run = simulated(execution, rule, lanes=3, every=10)
        assert run.diverged
        times = run.history["time"]
        assert times[-2] < 13 * 1.3 <= times[-1] < execution.time[-1]
        assert f"diverged before simulated time {times[-1]:.6g}" in run.message
        assert np.isfinite(run.history["loss"][:-1]).all()
        assert np.isnan(run.history["loss"][-1])
        expected = slow.replay(execution, rule).replicas(int((execution.time <= times[-1]).sum()))
        assert np.isnan(expected).all(axis=1).tolist() == [False, True, False, False, False]
        np.testing.assert_allclose(flat_replicas(run), expected, rtol=1e-11, atol=1e-11)


def test_the_result_is_a_labelled_dataset():
    """Units and provenance, as for a server."""
    with jax.enable_x64(True):
        run = simulated(drawn_table(0), SGD, lanes=3, every=2)
    data = run.to_dataset()
    for name, column in run.history.items():
        np.testing.assert_array_equal(data[name], column)
    assert data["time"].attrs["units"] == "s"


# Measures.


def brute_force(execution):
    """Of every gradient, by start: the sets that its reader had applied, and that were finished."""
    n, rows = execution.num_nodes, range(len(execution))
    content = {i: frozenset() for i in range(n)}  # of each replica, gradients by row
    for k in rows:
        before = content[execution.current[k]]
        content[n + k] = before | {
            -1 - v for v in execution.push[execution.push_first[k] : execution.push_first[k + 1]].tolist()
        }
    order = sorted((k for k in rows if execution.job[k] >= 0), key=lambda k: (execution.start[k], execution.node[k]))
    number = {k: s for s, k in enumerate(order)}
    applied = [{number[g] for g in content[execution.read[k]]} for k in order]
    done = [{number[g] for g in order if execution.time[g] <= execution.start[k]} for k in order]
    return order, applied, done, content


@settings(max_examples=60, deadline=None)
@given(
    means=st.lists(st.floats(0.3, 5.0), min_size=1, max_size=5),
    every=st.integers(1, 4),
    drain=st.booleans(),
    seed=st.integers(0, 5),
    wait=st.sampled_from([0.0, 0.4, 3.0, np.inf]),
    random=st.booleans(),
)
def test_staleness_is_that_of_the_sets(means, every, drain, seed, wait, random):
    """S_k, those that are finished, R_s and symmetric differences; the sums of S and R are equal."""
    n = len(means)
    fleet = jasgd.fleet.exponential(means) if random else jasgd.fleet.fixed(np.ceil(means))
    latencies = np.where(np.random.default_rng(seed).random((n, n)) < 0.7, wait, 1.0)
    execution = dec.dasgd(fleet, 40, latencies=latencies, broadcast_every=every, drain=drain, seed=seed)
    order, applied, done, content = brute_force(execution)
    missing = [set(range(k)) - a for k, a in enumerate(applied)]
    assert all(a <= set(range(k)) for k, a in enumerate(applied))
    found = dec.staleness(execution)
    assert found.rows.tolist() == order
    assert found.missing.tolist() == [len(m) for m in missing]
    assert found.finished.tolist() == [len(m & d) for m, d in zip(missing, done, strict=True)]
    assert found.missed.tolist() == [sum(s in m for m in missing) for s in range(len(order))]
    assert found.missing.sum() == found.missed.sum()
    for rows in (None, len(execution) // 2):
        last = [content[v] for v in execution.replicas_after(len(execution) if rows is None else rows)]
        for i in range(n):
            assert dec.symmetric_difference(execution, 0, i, rows) == len(last[0] ^ last[i])


# Refusals.

EXECUTION = dec.dasgd(jasgd.fleet.equal(3), 6, latencies=0.1)
THIRDS = np.full((3, 3), 1 / 3)


def asks(name):
    def update(g, state, params=None, *, value, **extra):
        return jax.tree.map(lambda u: u * 0 + jax.tree.leaves(value)[0].sum().astype(u.dtype), g), state

    def named(g, state, params=None, **extra):
        return update(g, state, params, value=extra[name])

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), named)


def run_with(problem=PROBLEM, rule=SGD, execution=EXECUTION, key=KEY, **chosen):
    return dec.simulate(problem, rule, execution, key=key, **chosen)


def few_shards():
    return dataclasses.replace(PROBLEM, num_workers=2)


REFUSED = [
    (lambda: run_with(rule=asks("delay")), ValueError, "without a server a rule cannot ask for delay"),
    (lambda: run_with(rule=asks("apply")), ValueError, "without a server a rule cannot ask for apply"),
    (lambda: run_with(rule=asks("stale_params")), ValueError, "without a server a rule cannot ask for stale_params"),
    (lambda: run_with(params={"b": jnp.float16(1.0), "w": jnp.ones(2)}), ValueError, "must be float16.*, got float32"),
    (lambda: run_with(params={"b": jnp.nan * jnp.ones(()), "w": jnp.ones(2)}), ValueError, "must be finite at the start"),
    (lambda: run_with(problem="p"), TypeError, "`problem` must be a jasgd.Problem"),
    (lambda: run_with(rule=0.1), TypeError, "`rule` must be an Optax transformation"),
    (lambda: run_with(execution=4), TypeError, "`execution` must be made by jasgd.decentralized"),
    (lambda: run_with(key=3), TypeError, "`key` must be a single key made by jax.random.key"),
    (lambda: run_with(key=jnp.zeros(2, jnp.uint32)), TypeError, "`key` must be a single key made by jax.random.key"),
    (lambda: run_with(problem=few_shards()), ValueError, "3 nodes but the problem has data for 2"),
    (lambda: run_with(every=2, times=[1.0]), ValueError, "give either `every` or `times`"),
    *[(lambda v=v: run_with(every=v), ValueError, "`every` must be a positive whole number") for v in (0, -1, 2.5, True)],
    *[(lambda v=v: run_with(lanes=v), ValueError, "`lanes` must be a positive whole number") for v in (0, 1.5, True)],
    *[
        (lambda v=v: run_with(times=v), ValueError, "`times` must increase from 0 to at most 2")
        for v in ([1.0, 0.5], [-1.0], [2.5], [np.nan], [[1.0]], 1.0)
    ],
    (
        lambda: dec.staleness(dec.ad_psgd(jasgd.fleet.equal(3), np.ones((3, 3)), 6)),
        ValueError,
        "nodes of ad_psgd average models",
    ),
    (lambda: dec.staleness(dec.swift(jasgd.fleet.equal(3), THIRDS, 6)), ValueError, "nodes of swift average models"),
    (lambda: dec.symmetric_difference(dec.local_sgd(jasgd.fleet.equal(3), THIRDS, 2), 0, 1), ValueError, "average models"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_cannot_be_simulated_is_refused(call, error, sentence):
    """One clear sentence each."""
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def changed(**columns):
    return lambda: dataclasses.replace(EXECUTION, **columns).verify()


def with_entry(name, index, value):
    column = getattr(EXECUTION, name).copy()
    column[index] = value
    return changed(**{name: column})


BROKEN = [
    (with_entry("node", 2, 3), r"`node` must lie in \[0, 3\); broken in row 2"),
    (with_entry("time", 4, 0.5), "`time` must not go backwards; broken in row 4"),
    (with_entry("start", 1, 9.0), "`time` and `start` must be finite, with 0 <= start <= time; broken in row 1"),
    (with_entry("start", 1, -1.0), "0 <= start <= time; broken in row 1"),
    (with_entry("read", 1, 4), "`read` must be an earlier vector; broken in row 1"),
    (with_entry("read", 1, -1), "`read` must be an earlier vector; broken in row 1"),
    (with_entry("mix", 0, 3), "`mix` must name earlier vectors, .*; broken in row 0"),
    (with_entry("push", 0, -2), "`push` must name earlier vectors, .*; broken in row 0"),
    (with_entry("job", 5, -1), "`push` must name earlier vectors, .*; broken in row 5"),
    (with_entry("job", 5, 0), r"a \(node, job\) pair must occur once"),
    (with_entry("mix_first", 1, 0), None),
    (changed(mix_first=EXECUTION.mix_first[:-1]), "`mix_first` must rise from 0"),
    (changed(push_first=EXECUTION.push_first + 1), "`push_first` must rise from 0"),
    (changed(mix_weight=EXECUTION.mix_weight[:-1]), "`mix_weight` must have"),
    (changed(push_weight=np.ones(1)), "`push_weight` must have"),
    (changed(time=EXECUTION.time[:-1]), "`time` must have"),
    (changed(messages=EXECUTION.messages[:-1]), "`messages` must have"),
    (changed(node=EXECUTION.node + 0.5), "column `node` must hold values of type int32"),
]


@pytest.mark.parametrize(("call", "sentence"), BROKEN, ids=[str(i) for i in range(len(BROKEN))])
def test_broken_tables_are_refused(call, sentence):
    """Each law of a table, with the row that breaks it."""
    if sentence is None:
        call()  # a row may sum nothing
        return
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_sums_with_other_weights_have_no_staleness():
    """A table of one's own: a step that is no replica, or a model that shrinks, is no sum of gradients."""
    for name, value in (("replica", False), ("mix_weight", 0.5)):
        with pytest.raises(ValueError, match="staleness counts gradients"):
            dec.staleness(with_entry(name, 3, value)())
