"""Tyurin, Pozzi, Ilin, Richtárik 2024: Shadowheart SGD, optimal where computing and sending both take time.

https://arxiv.org/abs/2402.04785. Problems and times are those of the authors' code; n, K, horizons and grids are
unknown to us and ours.
"""

FIGURES = {
    1: ("the quadratic at high, medium and low communication speed, for two noises", "8 min", "authors' problem and times"),
    2: ("a small quadratic: last gaps at three communication speeds, gap against bytes", "2 min", "ours"),
    3: ("logistic regression at high, medium and low communication speed", "5 min", "on the digits"),
    4: ("the quadratic while seconds per gradient go from sqrt(i) to 1", "3 min", "authors' problem and times"),
    5: ("the quadratic with random times, for links of three speeds and two noises", "4 min", "authors' problem and times"),
    6: ("time complexities against the speed of the links; the fastest worker alone", "1 s", "our formulas"),
}
