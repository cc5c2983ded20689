"""Graphs of workers without a server, as networkx graphs with the nodes 0, ..., n - 1.

An edge is a link; its attribute ``"seconds"`` is the time of one message, without it a message takes no time. An undirected
edge carries messages both ways. Graphs of networkx itself are as good as those made here: see
:func:`require_graph` for what they must be.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import require, require_count

if TYPE_CHECKING:
    import networkx

__all__ = [
    "complete",
    "erdos_renyi",
    "exponential",
    "from_edges",
    "latencies",
    "links",
    "mesh",
    "require_connected",
    "require_graph",
    "ring",
    "ring_of_cliques",
    "star",
    "torus",
    "with_seconds",
]

_DRAWS = 1000  # of a random graph, until one is connected


def ring(n: int) -> "networkx.Graph":
    """Node ``i`` is joined with ``i - 1`` and ``i + 1``, the last with the first.

    Example:
      >>> sorted(jasgd.decentralized.topology.ring(5)[0])
      [1, 4]
    """
    _require_three("n", n)
    return _networkx().cycle_graph(n)


def torus(rows: int, columns: int) -> "networkx.Graph":
    """A grid that wraps: everybody has four neighbours; row r, column c is node ``r * columns + c``.

    Example:
      >>> sorted(jasgd.decentralized.topology.torus(3, 4)[0])
      [1, 3, 4, 8]
    """
    _require_three("rows", rows)
    _require_three("columns", columns)
    return _grid(rows, columns, wraps=True)


def mesh(rows: int, columns: int) -> "networkx.Graph":
    """A grid that does not wrap, the "torus" in the code of Fragile SGD; row r, column c is node ``r * columns + c``.

    Example:
      >>> sorted(jasgd.decentralized.topology.mesh(3, 4)[0])
      [1, 4]
    """
    require_count("rows", rows)
    require_count("columns", columns)
    return _grid(rows, columns, wraps=False)


def star(n: int) -> "networkx.Graph":
    """Node 0 is joined with all others.

    Example:
      >>> sorted(jasgd.decentralized.topology.star(4)[0])
      [1, 2, 3]
    """
    require_count("n", n)
    return _networkx().star_graph(n - 1)


def complete(n: int) -> "networkx.Graph":
    """All are joined with all.

    Example:
      >>> jasgd.decentralized.topology.complete(4).number_of_edges()
      6
    """
    require_count("n", n)
    return _networkx().complete_graph(n)


def exponential(n: int) -> "networkx.DiGraph":
    r"""The static directed exponential graph: :math:`i \to i + 2^q \bmod n` for all :math:`q` with :math:`2^q < n`.

    Example:
      >>> sorted(jasgd.decentralized.topology.exponential(8).successors(0))
      [1, 2, 4]
    """
    require_count("n", n)
    hops = [2**q for q in range((n - 1).bit_length())]
    return from_edges([(i, (i + hop) % n) for i in range(n) for hop in hops], n, directed=True)


def erdos_renyi(n: int, p: float, *, seed: int = 0) -> "networkx.Graph":
    """Each pair is joined with probability ``p``; drawn again until the graph is connected.

    Example:
      >>> graph = jasgd.decentralized.topology.erdos_renyi(16, 0.3, seed=0)
      >>> jasgd.decentralized.topology.require_connected(graph)
    """
    require_count("n", n)
    require("p", p, lambda p: 0 <= p <= 1, "a probability")
    nx, rng = _networkx(), np.random.default_rng(seed)
    for _ in range(_DRAWS):
        graph = nx.fast_gnp_random_graph(n, p, seed=rng)
        if nx.is_connected(graph):
            return graph
    raise ValueError(f"none of {_DRAWS} random graphs with n = {n} and p = {p} is connected; raise `p`.")


def ring_of_cliques(n: int, cliques: int) -> "networkx.Graph":
    """Cliques of ``n // cliques`` nodes; the last node of each is joined with the first one of the next.

    As in the authors' code of SWIFT: the last clique takes the rest, two cliques are joined once, one alone is the complete
    graph.

    Example:
      >>> graph = jasgd.decentralized.topology.ring_of_cliques(10, 3)
      >>> sorted(graph[2]), sorted(graph[9])
      ([0, 1, 3], [0, 6, 7, 8])
    """
    require_count("n", n)
    require_count("cliques", cliques)
    if cliques > n:
        raise ValueError(f"`cliques` must not exceed the number of nodes {n}, got {cliques}.")
    nx, size = _networkx(), n // cliques
    firsts = [clique * size for clique in range(cliques)]
    graph = nx.compose_all([nx.complete_graph(range(i, end)) for i, end in zip(firsts, [*firsts[1:], n], strict=True)])
    graph.add_edges_from((i - 1, i) for i in firsts[1:])
    if cliques > 2:
        graph.add_edge(n - 1, 0)
    return graph


def from_edges(edges: Iterable[tuple[float, ...]], n: int | None = None, *, directed: bool = False) -> "networkx.Graph":
    """A graph from pairs ``(i, j)``, or triples ``(i, j, seconds)``.

    Args:
      edges: each once; from ``i`` to ``j``, or both ways.
      n: the number of nodes; by default the largest one in ``edges`` is the last.
      directed: whether an edge carries messages one way only.

    Example:
      >>> graph = jasgd.decentralized.topology.from_edges([(0, 1, 0.5), (1, 2, 2.0)])
      >>> jasgd.decentralized.topology.latencies(graph)[0]
      array([0. , 0.5, 2.5])
    """
    nx = _networkx()
    graph = nx.DiGraph() if directed else nx.Graph()
    edges = [tuple(edge) for edge in edges]
    ends = [end for edge in edges for end in edge[:2]]
    if any(len(edge) not in (2, 3) for edge in edges) or any(end != int(end) for end in ends):
        raise ValueError("an edge must be a pair (i, j) of nodes, or a triple (i, j, seconds).")
    if n is None:
        n = int(max(ends, default=0)) + 1
    require_count("n", n)
    graph.add_nodes_from(range(n))
    for i, j, *seconds in edges:
        if not (0 <= i < n and 0 <= j < n):
            raise ValueError(f"edges must join two of the nodes 0, ..., {n - 1}, got ({i}, {j}).")
        if graph.has_edge(i, j):
            both = "" if directed else "; with `directed=True` the two directions differ"
            raise ValueError(f"the edge ({int(i)}, {int(j)}) is given twice{both}.")
        graph.add_edge(int(i), int(j), **({"seconds": float(seconds[0])} if seconds else {}))
    links(graph)
    return graph


def with_seconds(
    graph: "networkx.Graph",
    seconds: ArrayLike | Mapping[tuple[int, int], float] | Callable[[np.random.Generator, int], ArrayLike],
    *,
    seed: int = 0,
) -> "networkx.Graph":
    """A copy of the graph whose messages take these seconds.

    Both directions of an undirected edge take equally long; ``graph.to_directed()`` has one number for each.

    Args:
      graph: of networkx.
      seconds: one number for all edges; or an array, in the order of ``graph.edges``; or a mapping from edges, where others
        keep what they have; or ``draw(rng, count)`` for random ones.
      seed: for random ones.

    Example:
      >>> ring = jasgd.decentralized.topology.ring(4)
      >>> graph = jasgd.decentralized.topology.with_seconds(ring, 0.5)
      >>> graph = jasgd.decentralized.topology.with_seconds(graph, {(0, 3): 9.0})
      >>> jasgd.decentralized.topology.latencies(graph)[0]
      array([0. , 0.5, 1. , 1.5])
      >>> drawn = jasgd.decentralized.topology.with_seconds(ring, lambda rng, count: rng.exponential(2.0, count), seed=1)
    """
    require_graph(graph)
    copy = graph.copy()
    count = graph.number_of_edges()
    if isinstance(seconds, Mapping):
        unknown = [edge for edge in seconds if not graph.has_edge(*edge)]
        if unknown:
            raise ValueError(f"`seconds` names {unknown[0]}, which is no edge of the graph.")
        of_edge = dict(seconds)
    else:
        if callable(seconds):
            seconds = seconds(np.random.default_rng(seed), count)
        each = np.asarray(seconds, np.float64)
        if each.shape not in ((), (count,)):
            raise ValueError(
                f"`seconds` must hold one number for each of {count} edges, got an array of shape {each.shape}."
            )
        of_edge = dict(zip(graph.edges, np.broadcast_to(each, count).tolist(), strict=True))
    _networkx().set_edge_attributes(copy, of_edge, "seconds")
    links(copy)
    return copy


def links(graph: "networkx.Graph") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who sends to whom, and the seconds of a message; an undirected edge is two links.

    Returns:
      Senders and receivers, int64, and seconds, float64; sorted by sender, then receiver.

    Example:
      >>> graph = jasgd.decentralized.topology.from_edges([(0, 1, 0.5), (1, 2, 2.0)])
      >>> senders, receivers, seconds = jasgd.decentralized.topology.links(graph)
      >>> senders, receivers, seconds
      (array([0, 1, 1, 2]), array([1, 0, 2, 1]), array([0.5, 0.5, 2. , 2. ]))
    """
    require_graph(graph)
    senders, receivers, seconds = np.array(list(graph.edges(data="seconds", default=0.0)), np.float64).reshape(-1, 3).T
    bad = ~(seconds >= 0)
    if bad.any():
        edge = int(np.argmax(bad))
        ends = (int(senders[edge]), int(receivers[edge]))
        raise ValueError(f"the seconds of an edge must not be negative, those of {ends} are {seconds[edge]}.")
    if not graph.is_directed():
        senders, receivers = np.concatenate([senders, receivers]), np.concatenate([receivers, senders])
        seconds = np.concatenate([seconds, seconds])
    order = np.lexsort((receivers, senders))
    return senders[order].astype(np.int64), receivers[order].astype(np.int64), seconds[order]


def latencies(graph: "networkx.Graph") -> np.ndarray:
    """Seconds from each node to each other along the fastest path; infinite where there is none.

    Returns:
      (n, n) float64: from row to column.

    Example:
      >>> graph = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.star(3), 2.0)
      >>> jasgd.decentralized.topology.latencies(graph)
      array([[0., 2., 2.],
             [2., 0., 4.],
             [2., 4., 0.]])
    """
    from scipy.sparse import csgraph, csr_array

    senders, receivers, seconds = links(graph)
    n = graph.number_of_nodes()
    table = csr_array((seconds, (senders, receivers)), shape=(n, n))
    return csgraph.shortest_path(table)


def require_graph(graph: "networkx.Graph") -> None:
    """Refuse what is not a networkx graph, directed or not, with the nodes 0, ..., n - 1, no loops and no parallel edges.

    Example:
      >>> import networkx
      >>> jasgd.decentralized.topology.require_graph(networkx.hypercube_graph(3))
      Traceback (most recent call last):
      ValueError: the nodes must be 0, ..., 7, got (0, 0, 0); networkx.convert_node_labels_to_integers renames them.
      >>> jasgd.decentralized.topology.require_graph(
      ...     networkx.convert_node_labels_to_integers(networkx.hypercube_graph(3))
      ... )
    """
    nx = _networkx()
    if not isinstance(graph, nx.Graph) or graph.is_multigraph():
        raise ValueError(f"the topology must be a networkx Graph or DiGraph, got a {type(graph).__name__}.")
    n = graph.number_of_nodes()
    if not n:
        raise ValueError("the graph must have a node.")
    strangers = [node for node in graph if node not in range(n)]
    if strangers:
        raise ValueError(
            f"the nodes must be 0, ..., {n - 1}, got {strangers[0]!r}; "
            "networkx.convert_node_labels_to_integers renames them."
        )
    for loop in nx.nodes_with_selfloops(graph):
        raise ValueError(f"node {loop} must not be joined with itself.")


def require_connected(graph: "networkx.Graph") -> None:
    """Refuse a graph in which somebody cannot reach somebody else.

    Example:
      >>> graph = jasgd.decentralized.topology.from_edges([(0, 1), (2, 3)])
      >>> jasgd.decentralized.topology.require_connected(graph)
      Traceback (most recent call last):
      ValueError: the graph must be connected, but there is no path from node 0 to node 2.
    """
    require_graph(graph)
    reverse = graph.reverse() if graph.is_directed() else graph
    for way, directed in (("from node 0 to node {}", graph), ("from node {} to node 0", reverse)):
        missing = set(graph) - set(_networkx().descendants(directed, 0)) - {0}
        if missing:
            raise ValueError(f"the graph must be connected, but there is no path {way.format(min(missing))}.")


def _networkx() -> Any:
    try:
        import networkx
    except ImportError:
        raise ImportError('graphs of workers need networkx: pip install "jasgd[experiments]".') from None
    return networkx


def _grid(rows: int, columns: int, *, wraps: bool) -> "networkx.Graph":
    nx = _networkx()
    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, columns, periodic=wraps))


def _require_three(name: str, value: int) -> None:
    require_count(name, value)
    if value < 3:
        raise ValueError(f"`{name}` must be at least 3 for a cycle, got {value}.")
