"""Tosi, Theobald 2023: Convergence Analysis of Decentralized ASGD.

https://arxiv.org/abs/2309.03754. Sizes, speeds, steps and the constants of the paper's rates are not known to us: all
settings are ours, and what is checked are the shapes of the rates, bounds of our own and the claim that nobody waits.
"""

FIGURES = {
    1: ("six nodes: squared gradients under two bounds; the staleness behind them", "15 s", "bounds ours"),
    2: (
        "staleness against what is left at a fixed step, and against the gradients to a goal",
        "40 s",
        "rate shapes; sizes ours",
    ),
    3: ("all-reduce, a parameter server and DASGD in seconds: logistic regression, a small network", "4 min", "sizes ours"),
    4: ("among methods that gossip: three graphs, a slow node", "3 min", "ours"),
}
