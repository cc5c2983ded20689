"""Will it fit? An estimate before the ring is allocated."""

import os

import jax

from jasgd import chunks, engine
from jasgd.cost import working_bytes
from jasgd.layout import Layout
from jasgd.plan import Plan


def room_for_lanes(program: engine.Traced) -> int:
    """Lanes for which snapshots, gradients, batches and what lies between take at most a quarter of the free memory."""
    per_lane = 4 * engine.tree_bytes(program.snapshots) + 4 * program.batch_bytes + working_bytes(program.gradient)
    return max(1, int(free_memory() // 4 // max(per_lane, 1)))


def refuse_if_too_large(program: engine.Traced, plan: Plan, layout: Layout | None = None) -> None:
    """Raise a ``MemoryError`` with numbers and the remedy if the ring and the lanes cannot fit."""
    axes = dict.fromkeys(("params", "lanes"), 1)  # over so many devices
    if layout is not None and jax.default_backend() != "cpu":  # whose devices share one memory
        axes = {name: 1 if axis is None else layout.mesh.shape[axis] for name, axis in vars(layout).items() if name in axes}
    snapshot, point = (-(-engine.tree_bytes(tree) // axes["params"]) for tree in (program.snapshots, program.params))
    free = free_memory()
    ring_bytes = chunks.ring_rows(plan) * snapshot * (2 if program.sends else 1)
    made = sum(plan.widths[1:]) if program.linear is not None else 0  # at once: gradients that have waited, and versions
    if program.linear is not None and program.snapshot_dtype is not None:
        made += plan.lanes  # gradients in the dtype of the parameters
    working = working_bytes(program.gradient) // axes["lanes"]
    lane_bytes = plan.lanes * ((2 + plan.window) * snapshot + program.batch_bytes + working) + made * point
    needed = ring_bytes + lane_bytes + 4 * point + 2 * engine.tree_bytes(program.rule_state)
    if needed > free:
        raise MemoryError(
            f"this simulation needs about {needed / 2**30:.2f} GiB but {free / 2**30:.2f} GiB are free: {plan.slots} "
            f"snapshots of {snapshot / 2**20:.2f} MiB ({ring_bytes / 2**30:.2f} GiB) and {plan.lanes} lanes "
            f"({lane_bytes / 2**30:.2f} GiB); use fewer lanes, a smaller concurrency, or parameters of lower precision, if "
            "only in snapshots (`snapshot_dtype`)."
        )


def free_memory(device: jax.Device | None = None) -> float:
    """Bytes that can still be allocated on a device, by default the first."""
    stats = (device or jax.local_devices()[0]).memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
