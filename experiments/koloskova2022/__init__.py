"""Koloskova, Stich, Jaggi 2022: Sharper Convergence Guarantees for Asynchronous SGD; Islamov et al. 2024: AsGrad.

https://arxiv.org/abs/2206.08307 and https://arxiv.org/abs/2310.20452. The version of the first paper that we know has no
experiments, so figures 1 and 2 show its statements on instances of ours; figure 3 has AsGrad's shape on other data.
"""

FIGURES = {
    1: ("concurrency and delays; seconds per gradient of the two schedulers of Lemma 11", "30 s", "the paper's example"),
    2: ("delay-adaptive steps R1 to R5 against each other under stragglers", "25 s", "ours"),
    3: ("assignment policies on workers with different data", "2 min", "AsGrad's settings, other data"),
}
