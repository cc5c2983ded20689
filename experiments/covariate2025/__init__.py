"""Liu, Zhang, Chen, Fang 2025: Optimal Algorithms in Linear Regression under Covariate Shift.

https://arxiv.org/abs/2502.09047. We know its abstract; constants, instances and panels of its figures are not known to us
and are replaced by our own. What delay does to its algorithms is our question.
"""

FIGURES = {
    1: (
        "target risk against samples, for five targets: optimum, bound, ridge, SGD, accelerated, preconditioned",
        "4 min",
        "the paper's kind of figure, our instances",
    ),
    2: ("streaming with delay: preconditioned SGD against the best SGD", "1 min", "ours"),
    3: ("source and target risk against delay, constant and of power-law fleets, at low noise", "4 min", "ours"),
    4: ("workers with different inputs: plain and rescaled steps", "1 min", "ours"),
    5: ("the largest stable step of momentum against delay", "20 s", "ours"),
}
