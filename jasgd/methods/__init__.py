"""The methods of the papers under their names: a protocol and a rule that belong together.

Each function returns a :class:`Method`: the schedule, the rule, and ``simulate``. A learning rate is given, or follows from
the constants of a theorem where :mod:`jasgd.theory` has one.
"""

from jasgd.methods._method import Method
from jasgd.methods.asynchronous import (
    asynchronous_sgd,
    clipped_sgd,
    dc_asgd,
    delay_adaptive_sgd,
    gap_aware,
    picky_sgd,
    rescaled_sgd,
)
from jasgd.methods.communication import (
    compressed_minibatch_sgd,
    dropping_sgd,
    ef21,
    fastest_worker_sgd,
    shadowheart,
)
from jasgd.methods.decentralized import amelie, fragile
from jasgd.methods.estimates import ascd, aszd
from jasgd.methods.federated import ca2fl, fadas, fedasync, fedbuff
from jasgd.methods.momentum import dana_slim, dana_zero, ormo, ormo_da, smega2, worker_momentum
from jasgd.methods.tables import dude, ringleader
from jasgd.methods.time_optimal import (
    ata,
    m_synchronous_sgd,
    malenia,
    mindflayer,
    minibatch_sgd,
    naive_optimal,
    rennala,
    ringmaster,
)

__all__ = [
    "Method",
    "amelie",
    "ascd",
    "asynchronous_sgd",
    "aszd",
    "ata",
    "ca2fl",
    "clipped_sgd",
    "compressed_minibatch_sgd",
    "dana_slim",
    "dana_zero",
    "dc_asgd",
    "delay_adaptive_sgd",
    "dropping_sgd",
    "dude",
    "ef21",
    "fadas",
    "fastest_worker_sgd",
    "fedasync",
    "fedbuff",
    "fragile",
    "gap_aware",
    "m_synchronous_sgd",
    "malenia",
    "mindflayer",
    "minibatch_sgd",
    "naive_optimal",
    "ormo",
    "ormo_da",
    "picky_sgd",
    "rennala",
    "rescaled_sgd",
    "ringleader",
    "ringmaster",
    "shadowheart",
    "smega2",
    "worker_momentum",
]
