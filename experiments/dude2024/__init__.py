"""Wang, Sun, Wai, Zhang 2024: Dual-Delayed Asynchronous SGD for Arbitrarily Heterogeneous Data.

https://arxiv.org/abs/2405.16966. The numbers of workers, splits, learning rates and epochs of its experiments are not known
to us and are replaced by our own, which the captions say.
"""

FIGURES = {
    1: (
        "where the methods go: the minimiser of the mean, or that of the fast workers",
        "30 s",
        "mechanism of the paper, setting ours",
    ),
    2: (
        "classification with Dirichlet label splits and random compute times",
        "3 min",
        "the paper's kind of setting, numbers ours",
    ),
    3: ("a bound over measured means, and speed-up with the number of workers", "20 s", "bound derived by us"),
}
