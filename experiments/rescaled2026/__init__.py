"""Mahran, Maranjyan, Richtárik 2026: Rescaled Asynchronous SGD.

https://arxiv.org/abs/2605.13434. We know its abstract and its poster; instances, steps and grids of its figures are not
known to us and are replaced by our own.
"""

FIGURES = {
    1: (
        "one number, two workers: levels and time scale of vanilla and Rescaled ASGD",
        "5 s",
        "poster's curves, our instance",
    ),
    2: ("label-split classification against Malenia and Ringleader SGD", "4 min", "poster's horizon, other data"),
    3: ("three forms of rescaling under random durations", "15 s", "ours"),
}
