"""Mishchenko, Bach, Even, Woodworth 2022: Asynchronous SGD Beats Minibatch SGD Under Arbitrary Delays.

https://arxiv.org/abs/2206.07638. Settings as in the authors' public notebook (konstmish/asynchronous_sgd); the delays of its
real processes cannot be had again, so workers have compute-time models here.
"""

FIGURES = {
    1: (
        "least squares, 40 workers: gap against gradients, seconds and the sum of the steps",
        "45 s",
        "authors' code, except its delays",
    ),
    2: ("the largest stable step under nine models of compute time", "20 s", "ours"),
    3: ("the bounds (A) to (E) over measured curves, and the virtual iterates", "30 s", "ours"),
}
