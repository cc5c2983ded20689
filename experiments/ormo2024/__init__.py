"""Shi, Yang, Li 2024: Ordered Momentum for Asynchronous SGD.

https://arxiv.org/abs/2407.19234. The tables of the paper are not known to us, nor are its batch size and learning rates: the
figures have its methods and its four settings, on smaller problems and with our own numbers.
"""

FIGURES = {
    1: ("the largest stable step of momentum rules against the number of workers", "2 min", "ours, against exact limits"),
    2: ("a race on an ill-conditioned quadratic, every method with its best step", "20 s", "ours"),
    3: ("classification with 16 and 64 workers, equal and heterogeneous; OrMo against synchronous rounds", "7 min",
        "the paper's methods and settings, on the digits and a perceptron"),
    4: ("OrMo against its ablation, the vanilla SGD step, in the four settings", "2 min",
        "the paper's ablation, on the digits and a perceptron"),
}  # fmt: skip
