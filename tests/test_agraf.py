"""AGRAF: any sequence of averages, against a slow event loop, and the methods that are cases of it."""

import itertools

import decentralized_references as slow
import jax
import numpy as np
import optax
import pytest
from decentralized_references import KEY, PROBLEM
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import decentralized as dec
from jasgd import fleet
from jasgd.decentralized import topology

pytestmark = pytest.mark.compiled_quickly
STEP = 0.125
INF = np.inf
CLOSE = {"rtol": 1e-11, "atol": 1e-11}  # double precision, of numbers near one
RANDOM = fleet.exponential([1.0, 0.7, 1.6, 2.0, 0.4])
RING = (2 * np.eye(5) + np.roll(np.eye(5), 1, axis=0) + np.roll(np.eye(5), -1, axis=0)) / 4
COLUMNS = ("node", "time", "job", "read", "start", "replica", "mix", "mix_first", "mix_weight", "push", "push_first")


@st.composite
def fleets(draw):
    """Five nodes whose speeds make many ties, none, or are random."""
    if draw(st.booleans()):
        return fleet.fixed(draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=5, max_size=5)))
    means = draw(st.lists(st.floats(0.3, 4.0), min_size=5, max_size=5))
    return draw(st.sampled_from([fleet.fixed, fleet.exponential]))(means)


@st.composite
def gossips(draw):
    """Doubly stochastic matrices, not all symmetric, at times of which many are ties; all sums of them are exact."""
    times = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 3.7, 4.0]) | st.floats(0, 12), max_size=12))
    orders = st.permutations(range(5))
    pairs = [(draw(orders), draw(orders)) for _ in times]
    return [
        (time, np.eye(5)[list(p)] / 4 + 3 * np.eye(5)[list(q)] / 4)
        for time, (p, q) in zip(sorted(times), pairs, strict=True)
    ]


def replicas_of(execution):
    return slow.replay(execution, STEP).replicas()


def same_table(one, other):
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@settings(max_examples=80, deadline=None)
@given(made=fleets(), gossip=gossips(), seed=st.integers(0, 5))
def test_agraf_is_the_event_loop(made, gossip, seed):
    """Rows and times exactly for any averages, replicas to rounding; the averages keep the mean of the replicas."""
    execution = dec.agraf(made, gossip, 40, seed=seed)
    with jax.enable_x64(True):
        nodes = slow.agraf(made, gossip, 40, seed=seed, step=STEP)
        columns = (getattr(execution, name).tolist() for name in ("node", "time", "job", "start"))
        assert list(zip(*columns, strict=True)) == nodes.events
        np.testing.assert_allclose(replicas_of(execution), nodes.x, **CLOSE)
    for before, after in nodes.means:
        np.testing.assert_allclose(after, before, **CLOSE)


def test_averages_keep_the_mean_of_the_replicas():
    """In the compiled simulation: a first gradient moves nodes apart, then come 400 averages of thirds, and steps of 0."""
    third = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 0, 0, 1, 1], [0, 1, 1, 0, 1], [0, 0, 1, 1, 1]]) / 3
    gossip = [(1.001 + k / 1000, third) for k in range(400)]
    execution = dec.agraf(fleet.equal(5), gossip, 10)
    rule = optax.sgd(lambda count: jax.numpy.where(count == 0, STEP, 0.0))
    with jax.enable_x64(True):
        run = dec.simulate(PROBLEM, rule, execution, key=KEY, lanes=5)
        alone = dec.simulate(PROBLEM, rule, dec.agraf(fleet.equal(5), [], 10), key=KEY, lanes=5)
        apart, together = slow.flat_replicas(alone), slow.flat_replicas(run)
        assert apart.std(axis=0).max() > 1e-2
        np.testing.assert_allclose(together, np.stack([apart.mean(axis=0)] * 5), rtol=1e-12)


@pytest.mark.compiled_fully
def test_pair_averages_just_before_steps_are_ad_psgd():
    """The same replicas bit for bit: mix, then step; the node reads what it then has."""
    expected = dec.ad_psgd(RANDOM, RING, 60, seed=3)
    gossip = []
    for row in np.flatnonzero(expected.job >= 0):
        pair = np.array([expected.node[row], expected.node[row + 1]])  # the second row is the neighbour's
        share = np.eye(5)
        share[pair[:, None], pair] = 0.5
        gossip.append((np.nextafter(expected.time[row], 0.0), share))
    execution = dec.agraf(RANDOM, gossip, 60, seed=3)
    assert len(execution) == len(expected) + 60  # the average and the step are two rows here
    with jax.enable_x64(True):
        np.testing.assert_array_equal(replicas_of(execution), replicas_of(expected))
        after = dec.agraf(RANDOM, [(np.nextafter(time, INF), share) for time, share in gossip], 60, seed=3)
        assert np.abs(replicas_of(after) - replicas_of(expected)).max() > 1e-3  # step, then mix is another method


@pytest.mark.parametrize("local_steps", [1, 3])
def test_an_average_at_the_end_of_every_round_is_local_sgd(local_steps):
    """On an equal fleet the same table as decentralized SGD, X <- W (X - gamma G), or with several steps in between."""
    weights = np.stack([RING, np.roll(np.eye(5), 1, axis=0), np.full((5, 5), 0.2)])
    rounds = 7
    gossip = ((local_steps * (t + 1.0), weights[t % 3]) for t in itertools.count())
    execution = dec.agraf(fleet.equal(5), gossip, 5 * local_steps * rounds)
    expected = dec.local_sgd(fleet.equal(5), weights, rounds, local_steps=local_steps)
    same_table(execution, expected)
    np.testing.assert_array_equal(execution.messages, expected.messages)


@pytest.mark.parametrize(
    ("made", "step", "protocol"),
    [
        (RANDOM, STEP / 5, lambda: jasgd.protocols.asynchronous(RANDOM, 60)),
        (fleet.equal(4), STEP, lambda: jasgd.protocols.minibatch(fleet.equal(4), 15)),
    ],
    ids=["asynchronous", "minibatch"],
)
def test_averages_of_all_nodes_at_all_steps_have_a_server(made, step, protocol):
    """Every replica is asynchronous SGD's point, with the step gamma / n; with equal speeds it is minibatch SGD's."""
    n = made.num_workers
    times = np.unique(dec.agraf(made, [], 60).time)
    execution = dec.agraf(made, [(time, np.full((n, n), 1 / n)) for time in times], 60)
    with jax.enable_x64(True):
        server = jasgd.simulate(PROBLEM, optax.sgd(step), protocol(), key=KEY)
        expected = np.concatenate([server.params["b"][None], server.params["w"]])
        np.testing.assert_allclose(replicas_of(execution), np.stack([expected] * n), **CLOSE)


def test_without_averages_every_node_is_alone():
    """Identities, no averages, rate 0, or no edge: n independent runs, with the rows of AD-PSGD without neighbours."""
    expected = dec.ad_psgd(RANDOM, np.eye(5), 50)
    same_table(dec.agraf(RANDOM, ((0.1 * k, np.eye(5)) for k in itertools.count()), 50), expected)
    for gossip in ([], dec.poisson_gossip(RING, 0.0), dec.poisson_gossip(np.eye(5), 2.0)):
        same_table(dec.agraf(RANDOM, gossip, 50), expected)
    with jax.enable_x64(True):
        found = replicas_of(expected)
        for i, jobs in enumerate(np.bincount(expected.node, minlength=5)):
            x = slow.START
            for job in range(jobs):
                x = x - STEP * slow.gradient(x, i, job)
            np.testing.assert_allclose(found[i], x, **CLOSE)
    assert dec.staleness(expected).missing.max() > 0


def test_nodes_whose_row_is_the_identitys_take_no_part():
    """Two of five average: two rows, one message for each."""
    share = np.eye(5)
    share[1:3, 1:3] = 0.5
    execution = dec.agraf(fleet.equal(5), [(1.5, share)], 10)
    averages = execution.job < 0
    assert execution.node[averages].tolist() == [1, 2]
    assert execution.messages.tolist() == averages.astype(int).tolist()


def test_edges_meet_at_points_of_a_poisson_process():
    """Numbers per edge and the squares of waiting times, within 5 standard errors of those of a rate of 0.5 per second."""
    meetings = list(itertools.takewhile(lambda meeting: meeting[0] < 2000, dec.poisson_gossip(topology.ring(5), 0.5)))
    assert all(np.all((share == 0) | (RING > 0)) for _, share in meetings)
    ends = np.array([np.flatnonzero(np.diag(share) == 0.5) for _, share in meetings])
    counts = [int(np.sum(np.all(ends == edge, axis=1))) for edge in ([0, 1], [1, 2], [2, 3], [3, 4], [0, 4])]
    assert sum(counts) == len(meetings)
    np.testing.assert_allclose(counts, 1000, atol=5 * np.sqrt(1000))
    gaps = np.diff([time for time, _ in meetings], prepend=0.0) * 2.5  # exponential with mean 1
    assert np.mean(gaps**2) == pytest.approx(2, abs=5 * np.sqrt(20 / len(gaps)))
    assert next(dec.poisson_gossip(RING, 0.5))[0] == meetings[0][0] != next(dec.poisson_gossip(RING, 0.5, seed=1))[0]


THREE, THIRDS = fleet.equal(3), np.full((3, 3), 1 / 3)
REFUSED = [
    (lambda: dec.agraf(THREE, [], 0), "`gradients` must be at least 1"),
    (lambda: dec.agraf(fleet.fixed([INF] * 3), dec.poisson_gossip(THIRDS, 1.0), 3), "never answer"),
    *[
        (lambda times=times: dec.agraf(THREE, [(time, THIRDS) for time in times], 9), f"not be negative nor go back.*{said}")
        for times, said in (
            ([-1.0], "got -1.0"),
            ([2.0, 1.5], "got 1.5 after 2.0"),
            ([np.nan], "got nan"),
            ([INF], "got inf"),
        )
    ],
    *[
        (lambda weights=weights: dec.agraf(THREE, [(0.5, weights)], 3), said)
        for weights, said in (
            (np.full((2, 2), 0.5), r"average at 0.5: expected \(3, 3\) finite numbers, got shape \(2, 2\)"),
            (np.full((3, 3), np.nan), r"expected \(3, 3\) finite numbers"),
            (np.full((3, 3), 0.5), "rows of the average at 0.5 must sum to one, but that of node 0 sums to 1.5"),
            (np.eye(3)[[0, 0, 1]], "columns of the average at 0.5 must sum to one, but that of node 0 sums to 2"),
            (np.array([[2, -1, 0], [-1, 2, 0], [0, 0, 1]]), "weights of the average at 0.5 must not be negative, got -1"),
        )
    ],
    (lambda: dec.poisson_gossip(THIRDS, -1.0), "`rate` must be a number of averages per second, not negative"),
    (lambda: dec.poisson_gossip(THIRDS, INF), "`rate` must be a number of averages per second"),
    (lambda: dec.poisson_gossip(np.eye(3)[[0, 0, 1]], 1.0), "must link 3 nodes symmetrically"),
    (lambda: dec.poisson_gossip(np.ones(3), 1.0), "must link 3 nodes symmetrically"),
    (lambda: dec.poisson_gossip(topology.exponential(4), 1.0), "the graph must not be directed"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_makes_no_execution_is_refused(call, sentence):
    """One clear sentence each, at once."""
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
