"""Tyurin, Richtárik 2024: Fragile SGD, optimal in networks without a server.

https://arxiv.org/abs/2405.16218. The quadratic, the network and the grids are those of the paper's appendix and the
authors' published commands; the data of the logistic regression are replaced unless asked for.
"""

FIGURES = {
    1: ("the quadratic on a 10 x 10 mesh, 0.1, 1 and 10 s per hop: Fragile and minibatch SGD", "3 min", "paper's setting"),
    2: ("rounds: seconds, batch and who contributes, against S, for two orders of ties", "10 s", "paper's network"),
    3: ("logistic regression with 100 workers, 0.1 and 10 s per hop", "3 min", "on the digits"),
    4: ("theory against simulation: line, mesh and torus; the guarantee on the number of rounds", "1 min", "ours"),
}
