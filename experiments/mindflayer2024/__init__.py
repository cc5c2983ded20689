"""Maranjyan, Omar, Richtarik 2024: MindFlayer SGD, parallel SGD under heterogeneous and random compute times.

https://arxiv.org/abs/2410.04285. Workers and tails as on the authors' poster; dimension, noise, batch, threshold and
step sizes of its figure are not known to us.
"""

FIGURES = {
    1: ("the tridiagonal quadratic under lognormal times with tails 1, 10, 100", "1 min", "poster, with substitutes"),
    2: ("seconds per useful gradient of one worker against the tail, simulated and by the formula", "20 s", "ours"),
}
