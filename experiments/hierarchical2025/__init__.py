"""Saves, Hallé-Hannan, Bussemaker, Diouane, Bartoli 2025: Hierarchical Modeling and Architecture Optimization.

https://arxiv.org/abs/2506.22621. Its studies, a multi-layer perceptron's hyper-parameters and the design of an aircraft, and
their scores are not known to us; the framework is applied to the choice of an asynchronous method, and to a test function of
the paper's software, SMT.
"""

FIGURES = {
    1: ("tuning eight methods and their knobs on one simulated fleet", "5 min", "the paper's framework, our setting"),
    2: ("the network function of the paper's software", "4 min", "function as in SMT's code"),
    3: ("the methods of this package and their knobs as a graph", "5 s", "the paper's kind of graph, our space"),
    4: ("evaluations that take time: several at once", "2 min", "ours"),
}
