"""What jobs hold: as many gradients and messages as the schedule has them take time for, of so many bytes."""

import numpy as np
import optax

from jasgd.problems.problem import Problem
from jasgd.schedule import Schedule
from jasgd.traced import tree_bytes


def require_same_jobs(problem: Problem, schedule: Schedule) -> None:
    """The oracle computes and sends what the schedule says that workers do."""
    workers = np.unique(schedule.worker)
    for name, counts in (("gradients", problem.job_gradients), ("messages", problem.job_messages)):
        given = np.asarray(1 if counts is None else counts)
        if given.ndim and len(given) != schedule.num_workers:
            raise ValueError(
                f"the oracle has {name} for {len(given)} workers but the schedule has {schedule.num_workers} workers."
            )
        if schedule.contents is None:
            if name == "messages" and given.ndim:
                raise ValueError(
                    "an oracle with messages for each worker needs a schedule in which they take their time, such as "
                    f"that of jasgd.protocols.shadowheart; got one of {schedule.protocol}."
                )
            idle = [i for i in workers.tolist() if not np.broadcast_to(given, schedule.num_workers)[i]]
            if idle:
                raise ValueError(
                    f"worker {idle[0]} delivers in this schedule of {schedule.protocol}, but the oracle gives it 0 {name}."
                )
            continue
        expected = getattr(schedule.contents, name)
        silent = (expected == 0) & (counts is None)  # a worker that keeps its gradients to itself
        wrong = [i for i in workers.tolist() if expected[i] != np.broadcast_to(given, expected.shape)[i] and not silent[i]]
        if wrong:
            raise ValueError(
                f"a job of worker {wrong[0]} holds {expected[wrong[0]]} {name} in this schedule of {schedule.protocol}, but "
                f"the oracle makes {np.broadcast_to(given, expected.shape)[wrong[0]]}; give the `oracle` that belongs to it."
            )


def messages_per_job(problem: Problem) -> int:
    """Messages of a job where all workers send the same number; else the schedule knows."""
    counts = np.asarray(1 if problem.job_messages is None else problem.job_messages)
    return int(counts) if counts.ndim == 0 else 1


def bytes_per_message(problem: Problem, params: optax.Params, rule_state: optax.OptState) -> float:
    """Bytes of a message: as rules say that compress, each its part, or the oracle, or else of a gradient."""
    told = optax.tree.get_all_with_path(rule_state, "bytes_per_message")
    if told:
        return sum(float(size) for _, size in told)
    return tree_bytes(params) if problem.message_bytes is None else problem.message_bytes(params)
