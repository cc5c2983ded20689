"""Maranjyan, Saad, Richtarik, Orabona 2025: ATA, adaptive task allocation for efficient resource management.

https://arxiv.org/abs/2502.00775. Workers, batch and allocations as on the authors' poster and in their public code; fewer
rounds, and confidence bounds narrowed so that as much is learnt in them.
"""

FIGURES = {
    1: ("what five allocations of 23 tasks cost in time and in worker-seconds", "45 s", "poster, in fewer rounds"),
    2: ("a quadratic under these allocations: loss against run time and worker-seconds", "40 s", "substitute"),
}
