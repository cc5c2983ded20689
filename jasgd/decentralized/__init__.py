"""Workers without a server: graphs, who sends what to whom when, and replicas that are simulated together."""

from jasgd.decentralized import plan, topology, weights
from jasgd.decentralized.agraf import agraf, poisson_gossip
from jasgd.decentralized.amelie import amelie
from jasgd.decentralized.dasgd import dasgd
from jasgd.decentralized.execution import Execution
from jasgd.decentralized.fragile import fragile, minibatch
from jasgd.decentralized.gossip import ad_psgd
from jasgd.decentralized.r_fast import r_fast
from jasgd.decentralized.rounds import delayed_gossip, local_sgd
from jasgd.decentralized.simulation import Replicas, simulate
from jasgd.decentralized.staleness import Staleness, staleness, symmetric_difference
from jasgd.decentralized.sweeps import sweep
from jasgd.decentralized.wait_free import adsgd, swift

__all__ = [
    "Execution",
    "Replicas",
    "Staleness",
    "ad_psgd",
    "adsgd",
    "agraf",
    "amelie",
    "dasgd",
    "delayed_gossip",
    "fragile",
    "local_sgd",
    "minibatch",
    "plan",
    "poisson_gossip",
    "r_fast",
    "simulate",
    "staleness",
    "sweep",
    "swift",
    "symmetric_difference",
    "topology",
    "weights",
]
