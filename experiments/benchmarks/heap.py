"""The event loop that most people write first: a heap of finish times, one gradient per event."""

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np


def heap_loop(times: np.ndarray, deliveries: int, start: Any, update: Callable[[Any, Any, int], Any]) -> Any:
    """Run asynchronous SGD event by event.

    Args:
      times: (N,) seconds per job of each worker.
      deliveries: how many.
      start: version 0.
      update: ``update(point, snapshot, worker)`` is the next point, a new object: snapshots are kept, not copied.

    Returns:
      The last point.
    """
    seconds = times.tolist()
    point, snapshots = start, [start] * len(seconds)
    heap = [(second, worker) for worker, second in enumerate(seconds)]
    heapq.heapify(heap)
    for _ in range(deliveries):
        now, worker = heap[0]
        point = snapshots[worker] = update(point, snapshots[worker], worker)
        heapq.heapreplace(heap, (now + seconds[worker], worker))
    return point
