"""Maranjyan, Tyurin, Richtárik 2025: Ringmaster ASGD, the first asynchronous SGD with optimal time complexity.

https://arxiv.org/abs/2501.16168. The quadratic of its poster with the settings that its public code uses, which differ from
the stated ones; see the page.
"""

FIGURES = {
    1: ("the tridiagonal quadratic, n = 6174, d = 1729: squared gradient norm against seconds", "2 min", "authors' code"),
    2: ("seconds to an accuracy against the threshold R, and the paper's R", "45 s", "ours"),
}
