"""Graphs of workers, seconds along their edges, and averaging weights: closed forms, properties, networkx as reference."""

import collections
import itertools
import sys
import warnings

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasgd.decentralized import topology, weights

EPS = np.finfo(np.float64).eps


@st.composite
def connected_graphs(draw, max_nodes=12):
    """A random tree with random edges on top."""
    n = draw(st.integers(1, max_nodes))
    tree = [(draw(st.integers(0, child - 1)), child) for child in range(1, n)]
    more = draw(st.lists(st.sampled_from(list(itertools.combinations(range(n), 2))), max_size=2 * n)) if n > 1 else []
    return topology.from_edges(sorted({*tree, *more}), n)


def gap(graph):
    return weights.spectral_gap(weights.metropolis(graph))


# Graphs.


def test_grids_wrap_or_not_and_number_their_nodes_row_by_row():
    """The torus has four neighbours everywhere, the mesh two in a corner; one row down is `columns` further."""
    torus, mesh = topology.torus(3, 5), topology.mesh(3, 5)
    assert set(dict(torus.degree).values()) == {4}
    assert torus.number_of_edges() == 2 * 15
    assert mesh.number_of_edges() == 3 * 4 + 2 * 5
    assert set(mesh.edges) < set(torus.edges)
    assert sorted(torus[7]) == sorted(mesh[7]) == [2, 6, 8, 12]


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8, 9])
def test_exponential_graph_hops_by_powers_of_two(n):
    """Node i sends to i + 2^q for every 2^q below n, once each, and the graph is regular."""
    graph = topology.exponential(n)
    hops = [2**q for q in range(10) if 2**q < n]
    assert set(graph.edges) == {(i, (i + hop) % n) for i in range(n) for hop in hops}
    assert {d for _, d in graph.in_degree} == {d for _, d in graph.out_degree} == {len(hops)}


def test_rings_of_cliques_of_swift():
    """16 nodes in 4 cliques and 10 in 3, the last clique larger; two cliques are joined once, one is complete."""
    graph = topology.ring_of_cliques(16, 4)
    assert graph.number_of_edges() == 4 * 6 + 4
    assert {(3, 4), (7, 8), (11, 12), (0, 15)} <= set(map(tuple, map(sorted, graph.edges)))
    graph = topology.ring_of_cliques(10, 3)
    assert sorted(map(len, nx.find_cliques(graph))) == [2, 2, 2, 3, 3, 4]
    assert topology.ring_of_cliques(6, 2).number_of_edges() == 3 + 3 + 1
    assert nx.utils.graphs_equal(topology.ring_of_cliques(5, 1), topology.complete(5))
    assert set(topology.ring_of_cliques(5, 5).edges) == set(topology.ring(5).edges)


def test_random_graphs_are_connected_and_repeatable():
    """At p = 3 / n many draws are not connected; what comes back is, the same for the same seed."""
    graphs = [topology.erdos_renyi(16, 3 / 16, seed=seed) for seed in range(20)]
    assert all(map(nx.is_connected, graphs))
    assert nx.utils.graphs_equal(graphs[3], topology.erdos_renyi(16, 3 / 16, seed=3))
    assert len({frozenset(graph.edges) for graph in graphs}) == 20
    # Edges are there with probability p: 200 graphs that are almost surely connected, within 5 standard errors.
    edges = [topology.erdos_renyi(16, 0.5, seed=seed).number_of_edges() for seed in range(200)]
    assert abs(np.mean(edges) - 60) < 5 * np.sqrt(120 / 4 / 200)


@given(connected_graphs(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_edges_there_and_back(graph, directed):
    """A graph is what `from_edges` makes of its edges with their seconds."""
    graph = graph.to_directed() if directed else graph
    graph = topology.with_seconds(graph, lambda rng, count: rng.exponential(1.0, count), seed=1)
    again = topology.from_edges(graph.edges(data="seconds"), len(graph), directed=directed)
    assert nx.utils.graphs_equal(graph, again)
    senders, receivers, seconds = topology.links(graph)
    from_links = topology.from_edges(zip(senders, receivers, seconds, strict=True), len(graph), directed=True)
    assert nx.utils.graphs_equal(graph.to_directed(), from_links)


# Seconds.


def test_seconds_of_edges_as_number_array_mapping_or_draw():
    """Each form sets what it says on a copy; a mapping leaves other edges alone, a draw depends on the seed only."""
    ring = topology.ring(4)
    assert set(nx.get_edge_attributes(topology.with_seconds(ring, 2), "seconds").values()) == {2.0}
    graph = topology.with_seconds(ring, [1.0, 2.0, 3.0, 4.0])
    assert nx.get_edge_attributes(graph, "seconds") == dict(zip(ring.edges, [1.0, 2.0, 3.0, 4.0], strict=True))
    changed = topology.with_seconds(graph, {(3, 0): 9.0})
    assert changed[0][3]["seconds"] == 9.0
    assert changed[0][1]["seconds"] == graph[0][1]["seconds"]
    assert not nx.get_edge_attributes(ring, "seconds")

    def draw(rng, count):
        return rng.uniform(0.1, 2.0, count)

    first, same, other = (topology.with_seconds(ring, draw, seed=seed) for seed in (0, 0, 1))
    assert nx.utils.graphs_equal(first, same)
    assert not nx.utils.graphs_equal(first, other)


seconds_of_edges = st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.just(float("inf")))


@given(connected_graphs(8), st.booleans(), st.booleans(), st.data())
@settings(max_examples=80, deadline=None)
def test_latencies_equal_floyd_warshall(graph, directed, whole, data):
    """The fastest paths of networkx, with free and dead edges, one-way edges, missing paths; sparse and complete."""
    graph = topology.complete(len(graph)) if whole else graph
    if directed:
        graph = topology.from_edges(
            data.draw(st.permutations(list(graph.to_directed().edges)))[::2], len(graph), directed=True
        )
    count = graph.number_of_edges()
    graph = topology.with_seconds(graph, data.draw(st.lists(seconds_of_edges, min_size=count, max_size=count)))
    expected = nx.floyd_warshall_numpy(graph, range(len(graph)), weight="seconds")
    np.testing.assert_allclose(topology.latencies(graph), expected, rtol=len(graph) * EPS)


def test_edges_without_seconds_are_free():
    """Zero everywhere within reach, infinite beyond, as no path is."""
    apart = topology.latencies(topology.from_edges([(0, 1), (2, 3)]))
    np.testing.assert_array_equal(apart, np.where(np.kron(np.eye(2), np.ones((2, 2))), 0.0, np.inf))


def test_hops_on_the_mesh_of_fragile_sgd():
    """Distances are Manhattan's, and the first node with the smallest eccentricity is 44: row 4, column 4."""
    hops = topology.latencies(topology.with_seconds(topology.mesh(10, 10), 1.0))
    row, column = np.divmod(np.arange(100), 10)
    np.testing.assert_array_equal(hops, abs(row[:, None] - row) + abs(column[:, None] - column))
    assert hops.max(axis=1).argmin() == 44


def test_order_of_nodes_does_not_matter():
    """Rows and columns belong to node numbers, not to the order in which networkx met the nodes."""
    graph = nx.Graph([(2, 0, {"seconds": 1.0}), (0, 1, {"seconds": 4.0})])
    np.testing.assert_array_equal(topology.latencies(graph), [[0, 4, 1], [4, 0, 5], [1, 5, 0]])
    np.testing.assert_allclose(weights.metropolis(graph), np.array([[1, 1, 1], [1, 2, 0], [1, 0, 2]]) / 3)


# Weights.


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        *[(topology.ring(n), 2 / 3 * (1 - np.cos(2 * np.pi / n))) for n in (3, 4, 7, 16)],
        *[(topology.torus(k, k), 2 / 5 * (1 - np.cos(2 * np.pi / k))) for k in (3, 4, 5, 8)],
        *[(topology.star(n), 1 / n) for n in (3, 4, 16)],
        *[(topology.complete(n), 1.0) for n in (1, 2, 5, 16)],
    ],
)
def test_gaps_in_closed_form(graph, expected):
    """Metropolis weights on rings, tori, stars and complete graphs."""
    assert gap(graph) == pytest.approx(expected, abs=20 * len(graph) * EPS)


@pytest.mark.parametrize("m", range(6))
def test_gap_of_the_exponential_graph(m):
    """2 / (1 + m) with 2^m nodes; W is not symmetric, so singular values count, not eigenvalues. One node alone has 1."""
    found = weights.spectral_gap(weights.uniform(topology.exponential(2**m)))
    assert found == pytest.approx(2 / (1 + m) if m else 1.0, abs=20 * 2**m * EPS)


def test_gaps_of_sixteen_nodes():
    """Four decimals each; the mesh also with a hundred nodes."""
    found = [
        *map(gap, (topology.ring(16), topology.torus(4, 4), topology.mesh(4, 4), topology.star(16), topology.complete(16))),
        weights.spectral_gap(weights.uniform(topology.exponential(16))),
        gap(topology.mesh(10, 10)),
    ]
    np.testing.assert_allclose(found, [0.0507, 0.4, 0.1314, 0.0625, 1.0, 0.4, 0.0205], atol=5e-5)


def test_one_peer_rounds_reach_the_mean_exactly():
    """With 2^m nodes the product of m rounds, from any round on, is J to the last bit."""
    for m in (1, 2, 4):
        rounds, n = weights.one_peer_exponential(2**m), 2**m
        assert rounds.shape == (m, n, n)
        for first in range(m):
            product = np.eye(n)
            for k in range(first, first + m):
                product = rounds[k % m] @ product
            np.testing.assert_array_equal(product, np.full((n, n), 1 / n))


@pytest.mark.parametrize("n", [2, 3, 6, 8])
def test_one_peer_rounds_use_the_links_of_the_exponential_graph(n):
    """Each round is doubly stochastic, gives half of one sender to everybody, and all rounds together use every link."""
    rounds = weights.one_peer_exponential(n)
    for each in rounds:
        weights.require_doubly_stochastic(each)
        assert np.count_nonzero(each == 0.5) == 2 * n
    graph = nx.to_numpy_array(topology.exponential(n), nodelist=range(n)) > 0
    np.testing.assert_array_equal(rounds.sum(axis=0) > 0, graph.T | np.eye(n, dtype=bool))


@given(connected_graphs())
@settings(max_examples=50, deadline=None)
def test_metropolis_weights_on_random_graphs(graph):
    """Symmetric to the last bit, doubly stochastic, zero exactly where there is no edge, and they contract."""
    W = weights.metropolis(graph)
    np.testing.assert_array_equal(W, W.T)
    weights.require_doubly_stochastic(W)
    edges = nx.to_numpy_array(graph, nodelist=range(len(graph))) > 0
    np.testing.assert_array_equal(W > 0, edges | np.eye(len(graph), dtype=bool))
    assert weights.spectral_gap(W) > 0


@given(connected_graphs(), st.data())
@settings(max_examples=50, deadline=None)
def test_uniform_weights_on_random_directed_graphs(graph, data):
    """Receivers average equally, senders divide equally: rows of the one and columns of the other sum to one."""
    arcs = data.draw(st.permutations(list(graph.to_directed().edges)))[::2]
    graph = topology.from_edges(arcs, len(graph), directed=True)
    for i in graph:
        heard, told = sorted([i, *graph.predecessors(i)]), sorted([i, *graph.successors(i)])
        row, column = np.zeros(len(graph)), np.zeros(len(graph))
        row[heard], column[told] = 1 / len(heard), 1 / len(told)
        np.testing.assert_array_equal(weights.uniform(graph)[i], row)
        np.testing.assert_array_equal(weights.push_sum(graph)[:, i], column)


def mailbox_weights(graph):
    """The rule of SWIFT as its nodes run it: everybody waits for the letters of larger and equal neighbours."""
    mail = collections.defaultdict(list)

    def node(i, found):
        degree, near = graph.degree[i], sorted(graph[i], key=lambda j: -graph.degree[j])
        if not near or degree >= graph.degree[near[0]]:
            for j in near:
                found[j] = 1 / (degree + 1)
                mail[i, j].append(found[j])
            return
        while near and graph.degree[near[0]] > degree:
            j = near.pop(0)
            while not mail[j, i]:
                yield
            found[j] = mail[j, i].pop(0)
        if not near:
            return
        share = (1 - sum(found.values())) / (len(near) + 1)
        equal = [j for j in near if graph.degree[j] == degree]
        for j in equal:
            mail[i, j].append(share)
        smallest = share
        for j in equal:
            while not mail[j, i]:
                yield
            smallest = min(smallest, mail[j, i].pop(0))
        for j in near:
            found[j] = smallest
            if graph.degree[j] < degree:
                mail[i, j].append(smallest)

    tables = {i: {} for i in graph}
    running = [node(i, tables[i]) for i in graph]
    while running:
        running = [each for each in running if next(each, "done") != "done"]
    W = np.zeros((len(graph), len(graph)))
    for i, found in tables.items():
        W[i, list(found)] = list(found.values())
        W[i, i] = 1 - sum(found.values())
    return W


@given(connected_graphs())
@settings(max_examples=100, deadline=None)
def test_swift_weights_equal_nodes_with_mailboxes(graph):
    """Computed degree by degree, they are what the nodes find by sending letters; a warning if they are not symmetric."""
    expected = mailbox_weights(graph)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        W = weights.swift(graph)
    np.testing.assert_allclose(W, expected, rtol=1e-12, atol=1e-14)
    asymmetric = not np.allclose(expected, expected.T, rtol=0, atol=1e-12)
    assert any("not symmetric" in str(each.message) for each in caught) == asymmetric
    assert any("negative" in str(each.message) for each in caught) == (expected.min() < -1e-12)


@pytest.mark.parametrize(
    "graph", [topology.ring(7), topology.complete(5), topology.torus(3, 4), topology.complete(1), topology.ring(3)]
)
def test_swift_weights_on_regular_graphs(graph):
    """1 / (1 + degree) for everybody, as the uniform weights."""
    np.testing.assert_allclose(weights.swift(graph), weights.uniform(graph), rtol=0, atol=4 * EPS)


@pytest.mark.parametrize("shape", [(16, 4), (10, 3), (16, 3)])
def test_swift_weights_on_rings_of_cliques(shape):
    """Symmetric and doubly stochastic, without a warning (warnings are errors here)."""
    W = weights.swift(topology.ring_of_cliques(*shape))
    np.testing.assert_array_equal(W, W.T)
    weights.require_doubly_stochastic(W)


def test_swift_weights_say_when_they_are_not_symmetric():
    """Six nodes: 3, 4, 5 hear 1/5 from node 2 and offer 4/15 to each other, but 3 and 5 meet node 0, who offers 1/4."""
    graph = topology.from_edges([(0, 1), (0, 3), (0, 5), (1, 2), (2, 3), (2, 4), (2, 5), (3, 4), (4, 5)])
    with pytest.warns(UserWarning, match=r"0\.25 from node 4 to node 3, 0\.2667 back; averaging does not keep the mean"):
        W = weights.swift(graph)
    assert W[4, 3] == pytest.approx(4 / 15)
    assert W[3, 4] == pytest.approx(1 / 4)
    np.testing.assert_allclose(W.sum(axis=1), 1.0, rtol=8 * EPS)


def test_swift_weights_say_when_they_are_negative():
    """Three hubs with 23 neighbours leave 7/8 to each of nodes 3, 4, 5; node 6 hears 7/16 from each of these."""
    hubs, middle = range(3), range(3, 6)
    leaves = [(hub, 7 + 20 * hub + leaf) for hub in hubs for leaf in range(20)]
    graph = topology.from_edges([*itertools.product(hubs, middle), *[(i, 6) for i in middle], *leaves])
    with pytest.warns(UserWarning, match=r"negative on this graph: -0\.3125"):
        W = weights.swift(graph)
    np.testing.assert_array_equal(W, W.T)
    with pytest.raises(ValueError, match=r"must not be negative, that from node 6 to node 6 is -0\.3125"):
        weights.require_doubly_stochastic(W)


# Refusals.


def test_doubly_stochastic_weights_of_any_precision_pass():
    """Rounding to float32 is forgiven, an error of a thousandth is not."""
    W = weights.metropolis(topology.erdos_renyi(30, 0.3))
    weights.require_doubly_stochastic(W.astype(np.float32))
    W[3, 4] += 1e-3
    with pytest.raises(ValueError, match=r"row 3 sums to 1\.001"):
        weights.require_doubly_stochastic(W)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: topology.ring(2), "`n` must be at least 3 for a cycle, got 2"),
        (lambda: topology.torus(3, 2), "`columns` must be at least 3 for a cycle, got 2"),
        (lambda: topology.mesh(0, 2), "`rows` must be a positive whole number, got 0"),
        (lambda: topology.star(0), "`n` must be a positive whole number"),
        (lambda: topology.complete(2.0), "`n` must be a positive whole number, got 2.0"),
        (lambda: topology.exponential(0), "`n` must be a positive whole number"),
        (lambda: weights.one_peer_exponential(1), "`n` must be at least 2"),
        (lambda: topology.erdos_renyi(4, 1.5), "`p` must be a probability, got 1.5"),
        (lambda: topology.erdos_renyi(4, 0.0), "none of 1000 random graphs with n = 4 and p = 0.0 is connected"),
        (lambda: topology.ring_of_cliques(4, 5), "`cliques` must not exceed the number of nodes 4, got 5"),
        (lambda: topology.from_edges([(0, 1), (1, 0)]), r"the edge \(1, 0\) is given twice; with `directed=True`"),
        (lambda: topology.from_edges([(0, 1), (0, 1)], directed=True), r"the edge \(0, 1\) is given twice\.$"),
        (lambda: topology.from_edges([(0, 3)], 3), r"two of the nodes 0, ..., 2, got \(0, 3\)"),
        (lambda: topology.from_edges([(-1, 0)]), r"two of the nodes 0, ..., 0, got \(-1, 0\)"),
        (lambda: topology.from_edges([(0, 0.5)]), r"an edge must be a pair \(i, j\)"),
        (lambda: topology.from_edges([(0, 1, 2.0, 3.0)]), r"an edge must be a pair \(i, j\)"),
        (lambda: topology.from_edges([(1, 1)]), "node 1 must not be joined with itself"),
        (lambda: topology.from_edges([(0, 1, -0.5)]), r"must not be negative, those of \(0, 1\) are -0.5"),
        (lambda: topology.with_seconds(topology.ring(3), float("nan")), r"must not be negative, those of \(0, 1\) are nan"),
        (lambda: topology.with_seconds(topology.ring(3), [1.0, 2.0]), r"each of 3 edges, got an array of shape \(2,\)"),
        (lambda: topology.with_seconds(topology.ring(4), {(0, 2): 1.0}), r"names \(0, 2\), which is no edge"),
        (lambda: topology.latencies(nx.Graph([(0, 1, {"seconds": -1})])), "must not be negative"),
        (lambda: topology.latencies(nx.path_graph(range(1, 4))), "the nodes must be 0, ..., 2, got 3"),
        (lambda: topology.latencies(nx.Graph([("a", "b")])), "the nodes must be 0, ..., 1, got 'a'"),
        (lambda: topology.latencies(nx.MultiGraph([(0, 1)])), "must be a networkx Graph or DiGraph, got a MultiGraph"),
        (lambda: topology.latencies(np.eye(3)), "must be a networkx Graph or DiGraph, got a ndarray"),
        (lambda: topology.require_graph(nx.Graph()), "the graph must have a node"),
        (lambda: topology.require_connected(nx.empty_graph(2)), "no path from node 0 to node 1"),
        (lambda: topology.require_connected(nx.DiGraph([(0, 1), (1, 2), (1, 0)])), "no path from node 2 to node 0"),
        (lambda: topology.require_connected(nx.DiGraph([(0, 1), (1, 0), (2, 0)])), "no path from node 0 to node 2"),
        (lambda: weights.metropolis(topology.exponential(4)), "Metropolis weights need an undirected graph"),
        (lambda: weights.swift(topology.exponential(4)), "the weights of SWIFT need an undirected graph"),
        (lambda: weights.spectral_gap(np.ones((2, 3))), r"must be an \(n, n\) array, got shape \(2, 3\)"),
        (lambda: weights.require_doubly_stochastic([[0.5, 0.6], [0.5, 0.4]]), "row 0 sums to 1.1"),
        (lambda: weights.require_doubly_stochastic([[1, 0], [1, 0]]), "column 0 sums to 2"),
        (lambda: weights.require_doubly_stochastic([[1.5, -0.5], [-0.5, 1.5]]), "from node 1 to node 0 is -0.5"),
    ],
)
def test_bad_input_gets_one_sentence(build, sentence):
    """What was expected and what came."""
    with pytest.raises(ValueError, match=sentence):
        build()


def test_connected_graphs_pass():
    """Undirected and strongly connected ones, and one node alone."""
    for graph in (topology.mesh(3, 4), topology.exponential(6), topology.complete(1), nx.DiGraph([(0, 1), (1, 0)])):
        topology.require_connected(graph)


def test_missing_networkx_is_reported_in_one_sentence(monkeypatch):
    """With the extra to install; the package itself is imported without it."""
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=r'need networkx: pip install "jasgd\[experiments\]"'):
        topology.ring(4)


def test_hops_on_a_torus_of_a_thousand_nodes():
    """The shorter way round in each direction."""
    hops = topology.latencies(topology.with_seconds(topology.torus(25, 40), 1.0))
    row, column = np.divmod(np.arange(1000), 40)
    down, right = abs(row[:, None] - row), abs(column[:, None] - column)
    np.testing.assert_array_equal(hops, np.minimum(down, 25 - down) + np.minimum(right, 40 - right))
