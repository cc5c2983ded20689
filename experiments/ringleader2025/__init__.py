"""Maranjyan, Richtárik 2025: Ringleader ASGD, optimal time complexity under data heterogeneity.

https://arxiv.org/abs/2509.22860. Clients, times and batch as in the authors' code and poster; the bundled digits instead of
MNIST, a smaller network and a shorter horizon unless other data are named.
"""

FIGURES = {
    1: (
        "label-split classification, n = 100: gradient norm against seconds, seven methods",
        "10 min",
        "poster's settings, other data",
    ),
}
