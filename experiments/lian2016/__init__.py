"""Lian, Zhang, Hsieh, Huang, Liu 2016: linear speedup from zeroth order to first order.

https://arxiv.org/abs/1606.00498. Its experiments run the zeroth-order method alone, on threads and data that cannot be had
again; sizes and claims are recalled, not verified, and the constants of its theorems are not known to us.
"""

FIGURES = {
    1: ("coordinates under three read models: speedup against workers, to a fixed distance", "1.5 min", "ours"),
    2: ("gradients under noise: distance against updates and speedup, with the exact expectation", "15 s", "ours"),
    3: ("seconds and function evaluations to a goal on power-law fleets, three oracles", "2 min", "ours"),
    4: ("black-box tuning of a network from function values, seconds to a fixed objective", "1 min", "paper, smaller"),
    5: ("model blending: test error over function evaluations, three oracles", "30 s", "paper, on synthetic ratings"),
}
