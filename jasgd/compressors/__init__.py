"""Compressors: what a worker's message keeps of a gradient, how much that costs, and how many bytes it is."""

from jasgd.compressors.bernoulli import bernoulli
from jasgd.compressors.compressor import Compressor, message_key
from jasgd.compressors.identity import identity
from jasgd.compressors.natural import natural
from jasgd.compressors.qsgd import qsgd
from jasgd.compressors.rand_k import rand_k
from jasgd.compressors.scaled_down import scaled_down
from jasgd.compressors.scaled_sign import scaled_sign
from jasgd.compressors.top_k import top_k

__all__ = [
    "Compressor",
    "bernoulli",
    "identity",
    "message_key",
    "natural",
    "qsgd",
    "rand_k",
    "scaled_down",
    "scaled_sign",
    "top_k",
]
