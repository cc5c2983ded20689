"""Fragile SGD, Amelie SGD and minibatch SGD on graphs: a slow clock written from the text, exact limits, laws, theory.

The slow clock goes from tick to tick, keeps lists of single gradients, and knows no events; whole numbers throughout.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import decentralized, fleet, methods, oracles, protocols, reference, theory
from jasgd.decentralized import topology
from jasgd.traffic import traffic

INF = float("inf")
KEY = jax.random.key(0)


def mesh(rows, columns, seconds):
    return topology.with_seconds(topology.mesh(rows, columns), seconds)


def counts(schedule):
    return schedule.contents.gradients


# The slow clock.


def tree(n, edges, root, towards):
    """Ticks to or from the root, and each node's neighbour on the path: of fewest edges among the fastest, then smallest."""
    best = [(math.inf, math.inf)] * n
    best[root] = (0, 0)
    reached = [((j, i) if towards else (i, j), ticks) for (i, j), ticks in edges.items()]
    for _ in range(n):
        for (a, b), ticks in reached:
            best[b] = min(best[b], (best[a][0] + ticks, best[a][1] + 1))
    before = [
        min((a for (a, b), ticks in reached if b == v and (best[a][0] + ticks, best[a][1] + 1) == best[v]), default=None)
        for v in range(n)
    ]
    return [ticks for ticks, _ in best], before


def slow_round(edges, h, pivot, batch, ties):
    """One round of Fragile SGD: ticks, gradients of each worker at the pivot, vectors that have arrived somewhere."""
    n = len(h)
    away, _ = tree(n, edges, pivot, towards=False)
    _, parent = tree(n, edges, pivot, towards=True)
    pair = [[] for _ in range(n)]  # the gradients in each node's sum
    cargo, lands, waits = [[] for _ in range(n)], [None] * n, [False] * n
    arrived, t = 0, -1

    def full():
        return len(pair[pivot]) >= batch

    def finish():
        for v in range(n):
            if t > away[v] and (t - away[v]) % h[v] == 0:
                pair[v].append(v)
                if full():
                    return

    def arrive():
        nonlocal arrived
        for v in range(n):
            if lands[v] == t:
                pair[parent[v]] += cargo[v]
                lands[v], arrived = None, arrived + 1
                if full():
                    return

    def leave(who):
        for v in range(n):
            if v != pivot and lands[v] is None and pair[v] and who(v):
                cargo[v], pair[v], waits[v], lands[v] = pair[v], [], False, t + edges[v, parent[v]]

    def wait():
        for v in range(n):
            waits[v] = lands[v] is not None and bool(pair[v])

    authors = [arrive, lambda: leave(lambda v: waits[v]), finish, lambda: leave(lambda v: True), wait]
    simple = [finish, arrive, lambda: leave(lambda v: True)]
    while not full():
        t += 1
        for phase in authors if ties == "authors" else simple:
            phase()
            if full():
                break
    return t, np.bincount(pair[pivot], minlength=n), arrived


@st.composite
def networks(draw):
    """Times of workers and of directed edges in ticks, and the graph in ticks or tenths of them."""
    n = draw(st.integers(1, 8))
    ticks, tenth = st.integers(1, 9), draw(st.booleans())
    kind = draw(st.sampled_from(["tree", "mesh", "directed"]))
    if kind == "tree":
        pairs = [(draw(st.integers(0, v - 1)), v) for v in range(1, n)]
    elif kind == "mesh":
        rows = draw(st.integers(1, 3))
        pairs = list(topology.mesh(rows, n).edges)
        n *= rows
    else:
        chords = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=4))
        pairs = sorted({(v, (v + 1) % n) for v in range(n)} | chords)
        pairs = [(i, j) for i, j in pairs if i != j]
    same = draw(st.booleans())
    each = [draw(ticks)] * len(pairs) if same else [draw(ticks) for _ in pairs]
    h = [draw(ticks)] * n if same else [draw(ticks) for _ in range(n)]
    edges = dict(zip(pairs, each, strict=True))
    if kind != "directed":
        edges |= {(j, i): rho for (i, j), rho in edges.items()}
    unit = 10 if tenth else 1
    graph = topology.from_edges([(i, j, rho / unit) for (i, j), rho in edges.items()], n, directed=True)
    if kind != "directed" and draw(st.booleans()):
        graph = topology.from_edges([(i, j, edges[i, j] / unit) for i, j in pairs], n)
    return edges, h, unit, graph, draw(st.integers(0, n - 1))


@pytest.mark.parametrize("ties", ["authors", "simple"])
@given(networks(), st.integers(1, 25))
@settings(deadline=None, max_examples=150)
def test_a_round_is_that_of_the_slow_clock(ties, network, batch):
    """Seconds, gradients of every worker and vectors on the links, in whole and tenth seconds, without rounding."""
    edges, h, unit, graph, pivot = network
    schedule = decentralized.fragile(fleet.fixed(np.array(h) / unit), graph, 3, batch, pivot=pivot, ties=ties).verify()
    t, gradients, arrived = slow_round(edges, h, pivot, batch, ties)
    assert schedule.time[schedule.apply].tolist() == [t / unit, 2 * t / unit, 3 * t / unit]
    np.testing.assert_array_equal(counts(schedule), gradients)
    assert traffic(schedule).messages.tolist() == [0, arrived, 2 * arrived, 3 * arrived]


@given(networks(), st.integers(1, 25), st.sampled_from(["authors", "simple"]))
@settings(deadline=None, max_examples=100)
def test_laws_of_a_round(network, batch, ties):
    """At least S gradients; each can have come in time; no faster than if links were never busy; slower with larger S."""
    edges, h, unit, graph, pivot = network
    workers = fleet.fixed(np.array(h) / unit)
    schedule = decentralized.fragile(workers, graph, 1, batch, pivot=pivot, ties=ties)
    ticks, n = round(schedule.time[-1] * unit), len(h)
    away, _ = tree(n, edges, pivot, towards=False)
    back, _ = tree(n, edges, pivot, towards=True)
    gradients = counts(schedule)
    assert gradients.sum() >= batch
    assert all(away[i] + h[i] + back[i] <= ticks for i in np.flatnonzero(gradients))

    def free_links(t):
        return sum(max(0, (t - away[i] - back[i]) // h[i]) for i in range(n))

    assert free_links(ticks) >= gradients.sum()
    larger = decentralized.fragile(workers, graph, 1, batch + 3, pivot=pivot, ties=ties)
    assert larger.time[-1] >= schedule.time[-1]
    np.testing.assert_allclose(schedule.weight, gradients[gradients > 0] / gradients.sum(), rtol=1e-6)


# Exact limits.


@given(st.lists(st.integers(1, 40), min_size=4, max_size=4), st.integers(1, 40), st.sampled_from(["authors", "simple"]))
@settings(deadline=None, max_examples=50)
def test_without_latencies_a_round_is_rennalas(tenths, batch, ties):
    """Seconds min{t : sum_i floor(t / h_i) >= S} where edges take no time."""
    times = np.array(tenths) / 10
    schedule = decentralized.fragile(fleet.fixed(times), mesh(2, 2, 0.0), 2, batch, ties=ties).verify()
    assert schedule.time[-1] / 2 == pytest.approx(theory.rennala_round_time(times, batch), rel=1e-12)


def test_far_workers_do_not_matter():
    """With 2 rho + h_j > S h the pivot is alone, in S h seconds; at equality others just come in time or just do not."""
    workers = fleet.fixed([2.0, 0.5, 3.0])
    alone = decentralized.fragile(workers, mesh(1, 3, 3.6), 2, 5, pivot=1).verify()
    assert alone.time.tolist() == [2.5, 5.0]
    assert counts(alone).tolist() == [0, 5, 0]
    near = mesh(1, 3, 0.25)  # 2 rho + h_0 = 2.5 = S h
    assert counts(decentralized.fragile(workers, near, 2, 5, pivot=1)).tolist() == [1, 4, 0]  # arrives before it finishes
    assert counts(decentralized.fragile(workers, near, 2, 5, pivot=1, ties="simple")).tolist() == [0, 5, 0]


def test_books_of_workers_that_come_too_late():
    """A worker with the point has a cancelled job, one without is idle; only what has gone over links is counted."""
    late = decentralized.fragile(fleet.equal(5), mesh(1, 5, 3.0), 2, 4).verify()
    assert counts(late).tolist() == [0, 0, 4, 0, 0]
    assert late.ledger.cancelled.tolist() == [0, 2, 0, 2, 0]
    assert late.ledger.cancelled_seconds.tolist() == [0, 2, 0, 2, 0]
    assert late.ledger.idle_seconds.tolist() == [8, 6, 0, 6, 8]
    carried = traffic(late)
    assert (carried.messages[-1], carried.models[-1], carried.seconds[-1]) == (0, 4, 12)


def test_tenths_are_tenths():
    """Seconds per edge of 0.1 and per gradient of 1 are, tick for tick, 1 and 10."""
    for batch in (10, 40, 120):
        tenths = decentralized.fragile(fleet.equal(100), mesh(10, 10, 0.1), 7, batch)
        whole = decentralized.fragile(fleet.equal(100, time=10.0), mesh(10, 10, 1.0), 7, batch)
        np.testing.assert_array_equal(counts(tenths), counts(whole))
        np.testing.assert_array_equal(tenths.time, whole.time / 10)


def test_the_pivot_of_the_authors():
    """Node 44 on the 10 x 10 mesh, whatever the seconds; where ways differ, there and back together decide."""
    for seconds in (0.1, 1.0, 10.0):
        schedule = decentralized.fragile(fleet.equal(100), mesh(10, 10, seconds), 1, 10)
        assert schedule.arguments["pivot"] == 44
    one_way = topology.from_edges([(0, 1, 1.0), (1, 2, 1.0), (2, 0, 9.0), (2, 1, 2.0), (1, 0, 5.0)], directed=True)
    assert decentralized.fragile(fleet.equal(3), one_way, 1, 1).arguments["pivot"] == 1  # 5 + 2; others 2 + 7, 7 + 2


def test_few_workers_contribute_over_slow_links():
    """10 seconds per hop and S = 120 on the mesh: 13 of 100, at most 2 hops off; 12 in the other order of ties."""
    graph = mesh(10, 10, 10.0)
    schedule = decentralized.fragile(fleet.equal(100), graph, 1, 120).verify()
    contribute = np.flatnonzero(counts(schedule))
    assert (len(contribute), counts(schedule).sum(), schedule.time[-1]) == (13, 128, 41)
    assert topology.latencies(graph)[44, contribute].max() == 20
    assert np.count_nonzero(counts(decentralized.fragile(fleet.equal(100), graph, 1, 120, ties="simple"))) == 12


def test_relays_pass_on_what_they_do_not_compute():
    """A worker that never answers still forwards: its own gradients are none, its messages are counted."""
    schedule = decentralized.fragile(fleet.fixed([1.0, INF, INF]), mesh(1, 3, 1.0), 1, 3, pivot=2).verify()
    # The point at 2; sums leave worker 0 at 3, 4, 5, and arrive two seconds later.
    assert (counts(schedule).tolist(), schedule.time[-1]) == ([3, 0, 0], 7)
    assert traffic(schedule).messages[-1] == 4 + 3


# Amelie SGD.


def slow_amelie(edges, h, pivot, batch):
    """Ticks and counts at the first tick at which the condition holds, by trying one tick after the other."""
    n = len(h)
    away, _ = tree(n, edges, pivot, towards=False)
    back, _ = tree(n, edges, pivot, towards=True)
    for t in range(1, 10_000):
        s = [(t - a) // each if t > a else 0 for a, each in zip(away, h, strict=True)]
        if min(s) >= 1 and n * n * math.prod(s) >= batch * sum(math.prod(s) // each for each in s):
            return t + max(back), s
    raise AssertionError


@given(networks(), st.integers(1, 60))
@settings(deadline=None, max_examples=100)
def test_amelie_stops_at_the_first_moment(network, batch):
    """The harmonic mean of the counts is n / sum(1 / s_i) >= S / n for the first time, then the longest way back."""
    edges, h, unit, graph, pivot = network
    schedule = decentralized.amelie(fleet.fixed(np.array(h) / unit), graph, 2, batch, pivot=pivot).verify()
    ticks, s = slow_amelie(edges, h, pivot, batch)
    assert schedule.time[schedule.apply].tolist() == [ticks / unit, 2 * ticks / unit]
    assert counts(schedule).tolist() == s
    np.testing.assert_array_equal(schedule.weight, np.float32(1 / len(h)))
    assert traffic(schedule).messages[-1] == traffic(schedule).models[-1] == 2 * (len(h) - 1)


def test_amelie_without_latencies_is_malenia():
    """The same seconds and the same number of gradients of every worker."""
    workers = fleet.fixed([1.0, 1.7, 2.3, 0.37])
    for batch in (4, 6, 17, 40):
        amelie = decentralized.amelie(workers, mesh(2, 2, 0.0), 3, batch)
        malenia = protocols.malenia(workers, 3, batch)
        np.testing.assert_allclose(amelie.version_time, malenia.version_time, rtol=1e-12)
        np.testing.assert_array_equal(3 * counts(amelie), np.bincount(malenia.worker))


def problem_of(noise):
    """Worker i has |x - i e|^2 / 2 with normal noise."""

    def gradient(x, sample):
        worker, z = sample
        return x - worker + noise * z

    return jasgd.Problem(
        init=lambda key: jnp.zeros(3),
        loss=lambda x, sample: jnp.sum(x),
        sample=lambda key, worker: (jnp.float32(worker), jax.random.normal(key, (3,))),
        gradient=gradient,
        metrics=lambda x: {"loss": jnp.sum(x), "grad_norm": jnp.sum(x)},
    )


def test_amelie_does_not_weigh_by_speed():
    """Without noise a step is that of the average function, though one worker computes ten gradients for another's one."""
    schedule = decentralized.amelie(fleet.fixed([0.1, 1.0, 1.0, 0.3]), mesh(2, 2, 0.05), 2, 4)
    assert counts(schedule).max() >= 9 * counts(schedule).min()
    oracle = oracles.gradient(counts(schedule))
    run = jasgd.simulate(problem_of(0.0), optax.sgd(0.5), schedule, key=KEY, oracle=oracle)
    np.testing.assert_allclose(run.params, 0.75 * 1.5, rtol=1e-6)


def test_equal_counts_make_a_plain_mean():
    """Amelie's step where all s_i are equal is that of the mean of all gradients, Fragile's weights."""
    schedule = decentralized.amelie(fleet.equal(4), mesh(2, 2, 0.0), 1, 12)
    assert counts(schedule).tolist() == [3] * 4
    fragile = decentralized.fragile(fleet.equal(4), mesh(2, 2, 0.0), 1, 12)
    assert counts(fragile).tolist() == [3] * 4
    np.testing.assert_array_equal(schedule.weight, fragile.weight)


# Arithmetic.


def test_a_step_is_the_mean_of_all_gradients_that_arrived():
    """The first step by hand from the s^k gradients at x^0, all steps as the slow replay has them."""
    schedule = decentralized.fragile(fleet.fixed([1.0, 0.7, 0.4, 2.0]), mesh(2, 2, 0.3), 3, 9)
    s = counts(schedule)
    assert len(set(s.tolist())) > 2
    problem, oracle, rule = problem_of(1.0), oracles.gradient(s), optax.sgd(0.5)
    run = jasgd.simulate(problem, rule, schedule, key=KEY, oracle=oracle)
    points = reference.replay(oracle.of(problem), rule, schedule, key=KEY)
    np.testing.assert_allclose(run.params, points[-1], rtol=1e-5)
    _, jobs_key = jasgd.split_key(KEY)
    gradients = [
        problem.gradient(points[0], problem.sample(jax.random.fold_in(jasgd.job_key(jobs_key, i, 0), j), i))
        for i in range(4)
        for j in range(s[i])
    ]
    assert len(gradients) == s.sum()
    np.testing.assert_allclose(points[1], points[0] - 0.5 * np.mean(gradients, axis=0), rtol=1e-5)


def test_one_worker_is_sgd_with_batch_s():
    """Seconds S h, and bit for bit the run of a lone worker whose job is S gradients; Amelie and minibatch, too."""
    one, workers = topology.mesh(1, 1), fleet.fixed([0.7])
    fragile, amelie = decentralized.fragile(workers, one, 5, 4).verify(), decentralized.amelie(workers, one, 5, 4).verify()
    assert fragile == amelie
    assert fragile.time.tolist() == [2.8, 5.6, 8.4, 11.2, 14.0]
    assert decentralized.minibatch(workers, one, 2).verify().time.tolist() == [0.7, 1.4]
    problem, oracle, rule = problem_of(1.0), oracles.gradient(4), optax.sgd(0.1)
    ours = methods.fragile(workers, 5, graph=one, batch=4, learning_rate=0.1).simulate(problem, key=KEY, lanes=1)
    plain = jasgd.simulate(problem, rule, protocols.minibatch(workers, 5), key=KEY, oracle=oracle, lanes=1)
    np.testing.assert_array_equal(ours.params, plain.params)


def test_minibatch_on_a_graph():
    """2 ecc rho + h seconds on line and mesh, the longest ways where they differ; otherwise synchronous minibatch SGD."""
    assert decentralized.minibatch(fleet.equal(11), mesh(1, 11, 0.1), 3).verify().version_time.tolist() == [0, 2, 4, 6]
    assert decentralized.minibatch(fleet.equal(100), mesh(10, 10, 0.1), 1).verify().time[-1] == 3
    ring = topology.from_edges([(0, 1, 1.0), (1, 2, 2.0), (2, 0, 4.0)], directed=True)
    schedule = decentralized.minibatch(fleet.fixed([1.0, 2.0, 9.0]), ring, 2, pivot=0).verify()
    assert schedule.time[-1] == 2 * (3 + 9 + 6)
    plain = protocols.minibatch(fleet.fixed([1.0, 2.0, 9.0]), 2)
    for column in ("worker", "job", "read", "weight", "apply"):
        np.testing.assert_array_equal(getattr(schedule, column), getattr(plain, column))


def test_methods_take_the_papers_numbers():
    """S = max(ceil(s), 1) or max(ceil(s), n), and the step 1 / (2 L)."""
    graph, workers = mesh(2, 2, 0.1), fleet.equal(4)
    fragile = methods.fragile(workers, 2, graph=graph, noise_ratio=2.5, smoothness=2.0)
    amelie = methods.amelie(workers, 2, graph=graph, noise_ratio=2.5, smoothness=2.0)
    assert (fragile.schedule.arguments["batch"], amelie.schedule.arguments["batch"]) == (3, 4)
    moved, _ = fragile.rule.update(jnp.ones(1), fragile.rule.init(jnp.ones(1)))
    assert moved == -0.25
    assert "2405.16218" in jasgd.citation(fragile)
    assert jasgd.citation(amelie) == jasgd.citation(fragile)
    with pytest.raises(ValueError, match="either `batch` or `noise_ratio`"):
        methods.amelie(workers, 2, graph=graph, smoothness=1.0)


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("fixed times", lambda: decentralized.fragile(fleet.exponential([1.0, 1.0]), mesh(1, 2, 1.0), 1, 1)),
        ("without links", lambda: decentralized.fragile(fleet.equal(2).with_links(upload=1.0), mesh(1, 2, 1.0), 1, 1)),
        ("each of the 3 workers", lambda: decentralized.amelie(fleet.equal(3), mesh(1, 2, 1.0), 1, 1)),
        ("one of the workers 0 to 1", lambda: decentralized.fragile(fleet.equal(2), mesh(1, 2, 1.0), 1, 1, pivot=2)),
        ("cannot reach each other", lambda: decentralized.fragile(fleet.equal(2), mesh(1, 2, INF), 1, 1)),
        ("`ties` must be", lambda: decentralized.fragile(fleet.equal(2), mesh(1, 2, 1.0), 1, 1, ties="none")),
        ("`batch` must be", lambda: decentralized.fragile(fleet.equal(2), mesh(1, 2, 1.0), 1, 0)),
        ("no worker ever answers", lambda: decentralized.fragile(fleet.fixed([INF, INF]), mesh(1, 2, 1.0), 1, 1)),
        ("worker 1 never answers", lambda: decentralized.amelie(fleet.fixed([1.0, INF]), mesh(1, 2, 1.0), 1, 1)),
        ("worker 0 never answers", lambda: decentralized.minibatch(fleet.fixed([INF, 1.0]), mesh(1, 2, 1.0), 1)),
        ("one number per pair", lambda: theory.fragile_time(1.0, [1.0, 1.0], [[0.0]])),
        ("must not be negative", lambda: theory.decentralized_equilibrium_time(1.0, [1.0], [-1.0])),
        ("no worker ever answers", lambda: theory.fragile_pivot(1.0, [INF], [[0.0]])),
    ],
)
def test_bad_input_is_refused(message, make):
    """In one sentence."""
    with pytest.raises(ValueError, match=message):
        make()


# Theory.

seconds = st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.just(INF))
positive = st.floats(1e-3, 1e3)
ratios = st.one_of(st.just(0.0), st.floats(1e-2, 1e4))


@given(st.lists(st.tuples(positive | st.just(INF), seconds), min_size=1, max_size=6), ratios)
@settings(deadline=None)
def test_equilibrium_time_is_the_best_group(workers, s):
    """Over all groups of workers: the last one's gradient arrives, and together they compute s gradients."""
    groups = [[w for i, w in enumerate(workers) if mask >> i & 1] for mask in range(1, 2 ** len(workers))]

    def time_of(group):
        slowest = max(max(pair) for pair in group)
        return INF if slowest == INF else max(slowest, s / sum(1 / h for h, _ in group))

    found = theory.decentralized_equilibrium_time(s, [h for h, _ in workers], [tau for _, tau in workers])
    assert found == pytest.approx(min(map(time_of, groups)), rel=1e-12)


@given(st.lists(positive, min_size=1, max_size=8), ratios)
@settings(deadline=None)
def test_without_latencies_fragile_time_is_rennalas(times, s):
    """T <= min_m H_m (1 + s / m) <= 2 T."""
    ours = theory.fragile_time(s, times, np.zeros((len(times),) * 2))
    best = theory.optimal_time(times, s)
    assert ours <= best * (1 + 1e-12)
    assert best <= 2 * ours * (1 + 1e-12)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=6), ratios)
@settings(deadline=None)
def test_star_with_free_broadcast(leaves, s):
    """The faster of one leaf alone, max{h_j, s h_j}, and all leaves through a centre that does not compute."""
    h, up = np.array([INF] + [h for h, _ in leaves]), np.array([0.0] + [tau for _, tau in leaves])
    latencies = np.where(np.eye(len(h)), 0.0, up[:, None])
    centre = theory.decentralized_equilibrium_time(s, h, up)
    alone = min(max(each, s * each) for each, _ in leaves)
    assert theory.fragile_time(s, h, latencies) == pytest.approx(min(alone, centre), rel=1e-12)


def test_best_pivot():
    """The fast worker in the corner, not the centre, and a schedule with that pivot is faster."""
    times = np.full(9, 5.0)
    times[8] = 0.1
    graph = mesh(3, 3, 2.0)
    best = theory.fragile_pivot(20.0, times, topology.latencies(graph))
    assert best == 8
    seconds = [decentralized.fragile(fleet.fixed(times), graph, 1, 20, pivot=p).time[-1] for p in (best, None)]
    assert seconds[0] == 2.0 < seconds[1]


@pytest.mark.parametrize(("edge", "expected"), [(1e3, 400.0), (1.0, 14.0), (1e-3, 400 / 101)])
def test_line_of_101_workers(edge, expected):
    """Equal h = 1 and s = 400, one-way distances: alone, in part, and all together."""
    place = np.arange(101)
    times = [theory.decentralized_equilibrium_time(400.0, np.ones(101), edge * np.abs(place - j)) for j in place]
    assert min(times) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("graph", "dimensions"),
    [(topology.mesh(1, 101), 1), (topology.ring(100), 1), (topology.mesh(10, 10), 2), (topology.torus(10, 10), 2)],
    ids=["line", "circle", "mesh", "torus"],
)
def test_explicit_times_of_meshes(graph, dimensions):
    """Within a factor of 2 of the definition over seven decades of noise and latencies."""
    n, hops = graph.number_of_nodes(), topology.latencies(topology.with_seconds(graph, 1.0))
    for s in (0.0, 0.1, 1.0, 10.0, 1e2, 1e3, 1e4):
        for edge in (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e2, 1e3):
            explicit = theory.mesh_time(s, 3.0, edge, num_workers=n, dimensions=dimensions)
            assert 0.5 <= explicit / theory.fragile_time(s, np.full(n, 3.0), edge * hops) <= 2


def test_times_of_the_other_methods():
    """One worker, one that never answers, and other units of time."""
    h, tau = np.array([1.0, 3.0, 2.0]), np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    every = [theory.fragile_time, theory.amelie_time, theory.graph_minibatch_time]
    assert [time(5.0, [2.0], [[0.0]]) for time in every] == [10, 10, 12]
    assert [time(5.0, 7 * h, 7 * tau) for time in every] == pytest.approx([7 * time(5.0, h, tau) for time in every])
    h[1] = INF
    for s in (0.0, 5.0):
        assert [math.isinf(time(s, h, tau)) for time in every] == [False, True, True]
    assert theory.amelie_time(90.0, [1.0, 3.0, 2.0], tau) == 60
