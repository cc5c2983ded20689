"""Protocols: from a fleet to the schedule of an execution."""

from jasgd.protocols.asynchronous import asynchronous
from jasgd.protocols.ata import ata
from jasgd.protocols.buffered import buffered, semi_asynchronous
from jasgd.protocols.delays import delays, geometric_delays, uniform_delays
from jasgd.protocols.doubling_budget import doubling_budget
from jasgd.protocols.fastest_worker import fastest_worker
from jasgd.protocols.m_synchronous import m_synchronous
from jasgd.protocols.mindflayer import mindflayer
from jasgd.protocols.minibatch import minibatch
from jasgd.protocols.rennala import malenia, rennala
from jasgd.protocols.ringleader import ringleader
from jasgd.protocols.ringmaster import naive_optimal, ringmaster
from jasgd.protocols.shadowheart import shadowheart

__all__ = [
    "asynchronous",
    "ata",
    "buffered",
    "delays",
    "doubling_budget",
    "fastest_worker",
    "geometric_delays",
    "m_synchronous",
    "malenia",
    "mindflayer",
    "minibatch",
    "naive_optimal",
    "rennala",
    "ringleader",
    "ringmaster",
    "semi_asynchronous",
    "shadowheart",
    "uniform_delays",
]
