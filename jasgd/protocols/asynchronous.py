"""Plain asynchronous SGD: every gradient is one server step, whoever delivers it.

- Own worker: the worker that delivered gets the new model (Mishchenko, Bach, Even, Woodworth 2022,
  https://arxiv.org/abs/2206.07638, Algorithm 1; Koloskova, Stich, Jaggi 2022, https://arxiv.org/abs/2206.08307,
  Algorithm 1).
- Random worker, with queues: Koloskova et al. 2022, Algorithm 2. Shuffled workers, and waiting for ``b`` arrivals:
  Islamov, Safaryan, Alistarh 2024, AsGrad, https://arxiv.org/abs/2310.20452.
- A common first round: Wang, Sun, Wai, Zhang 2024, DuDe-ASGD, https://arxiv.org/abs/2405.16966.
- Dropping by age: Koloskova et al. 2022, Theorem 8 with step 0; with arrivals as the clock it is the clock of
  Cohen et al. 2021 (Picky SGD).
"""

from typing import Literal

import numpy as np

from jasgd.fleet import Fleet
from jasgd.protocols._always_busy import always_busy
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._event_loop import Server
from jasgd.schedule import Schedule

CITATION = """\
@inproceedings{mishchenko2022asynchronous,
  title={Asynchronous {SGD} Beats Minibatch {SGD} Under Arbitrary Delays},
  author={Mishchenko, Konstantin and Bach, Francis and Even, Mathieu and Woodworth, Blake},
  booktitle={Advances in Neural Information Processing Systems}, year={2022}, note={arXiv:2206.07638}}
@inproceedings{koloskova2022sharper,
  title={Sharper Convergence Guarantees for Asynchronous {SGD} for Distributed and Federated Learning},
  author={Koloskova, Anastasia and Stich, Sebastian U. and Jaggi, Martin},
  booktitle={Advances in Neural Information Processing Systems}, year={2022}, note={arXiv:2206.08307}}
@inproceedings{islamov2024asgrad,
  title={{AsGrad}: A Sharp Unified Analysis of Asynchronous-{SGD} Algorithms},
  author={Islamov, Rustem and Safaryan, Mher and Alistarh, Dan},
  booktitle={AISTATS}, year={2024}, note={arXiv:2310.20452}}
"""


def asynchronous(
    fleet: Fleet,
    updates: int,
    *,
    assignment: Literal["own", "random", "shuffled"] = "own",
    wait_for: int = 1,
    concurrency: int | None = None,
    parallel: bool = False,
    dispatch: Literal["after", "before"] = "after",
    max_delay: int | None = None,
    age_in: Literal["updates", "arrivals"] = "updates",
    first_round: Literal["apart", "together"] = "apart",
    seed: int = 0,
) -> Schedule:
    """Asynchronous SGD: one server step per delivered gradient.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      assignment: who gets the new model: the worker that delivered ("own"), a uniformly drawn worker, busy or not
        ("random"), or the next one of a permutation that is drawn anew every ``num_workers`` assignments ("shuffled").
        A job given to a busy worker waits in its queue; it computes at the model it was sent with.
      wait_for: ``b``: new jobs are given out only after every ``b``-th step, ``b`` of them at a time.
      concurrency: jobs in flight; by default as many as workers. With fewer, "own" starts the first ones, the
        other two a uniformly drawn set.
      parallel: let a worker compute several jobs at once instead of queueing them.
      dispatch: whether a worker gets its next model "after" its gradient is applied, as in the papers, or "before",
        as in Mishchenko et al.'s public notebook, which makes every delay one larger.
      max_delay: older gradients are thrown away when they arrive, and the worker starts again.
      age_in: whether ``max_delay`` counts server "updates" or all "arrivals", thrown away ones included.
      first_round: whether workers go on by themselves from the start ("apart"), or all wait until each has delivered
        its first gradient and start again "together", as gradient tables are filled.
      seed: of the durations and of the assignment.

    Returns:
      The schedule. ``read`` and ``delay`` count server updates in every case.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1.0, 1.7]), 4)
      >>> schedule.worker, schedule.delay
      (array([0, 1, 0, 0], dtype=int32), array([0, 1, 1, 0], dtype=int32))
    """
    require_fleet(fleet, seed)
    arguments = {key: value for key, value in locals().items() if key != "fleet"} | {"fleet": fleet.name}
    jobs = fleet.num_workers if concurrency is None else concurrency
    _check(fleet.num_workers, updates, assignment, wait_for, jobs, parallel, dispatch, max_delay, age_in, first_round)
    apart = first_round == "apart"
    if assignment == "own" and wait_for == 1 and max_delay is None and apart and not fleet.powers:
        columns, ledger = always_busy(fleet, updates, jobs, dispatch, seed)
    else:
        server = Server(fleet, jobs, assignment, wait_for, parallel, dispatch, max_delay, age_in, seed)
        columns, ledger = server.run(updates, first_wait=None if apart else jobs)
    return Schedule(
        **columns,
        weight=np.ones(updates, np.float32),
        apply=np.ones(updates, bool),
        num_workers=fleet.num_workers,
        wire_seconds=fleet.wire_seconds,
        protocol="asynchronous",
        arguments=arguments,
        jobs_in_flight=(jobs - (dispatch == "after")) if wait_for == 1 and apart else None,
        parallel=parallel,
        ledger=ledger,
    )


def _check(
    num_workers: int,
    updates: int,
    assignment: str,
    wait_for: int,
    jobs: int,
    parallel: bool,
    dispatch: str,
    max_delay: int | None,
    age_in: str,
    first_round: str,
) -> None:
    require_whole(updates=updates)
    require_whole(least=None, wait_for=wait_for, concurrency=jobs)
    for name, value, choices in (
        ("assignment", assignment, ("own", "random", "shuffled")),
        ("dispatch", dispatch, ("after", "before")),
        ("age_in", age_in, ("updates", "arrivals")),
        ("first_round", first_round, ("apart", "together")),
    ):
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {choices}, got {value!r}.")
    if not 1 <= jobs <= num_workers:
        raise ValueError(f"`concurrency` must lie between 1 and the {num_workers} workers, got {jobs}.")
    if not 1 <= wait_for <= jobs:
        raise ValueError(f"`wait_for` must lie between 1 and the {jobs} jobs in flight, got {wait_for}.")
    if max_delay is not None and not max_delay >= 0:
        raise ValueError(f"`max_delay` must not be negative, got {max_delay}.")
    if wait_for > 1 and (max_delay is not None or dispatch == "before"):
        raise ValueError("`wait_for` above 1 cannot be combined with `max_delay` or with dispatch before apply.")
    if first_round == "together" and (max_delay is not None or dispatch == "before"):
        raise ValueError("a first round together cannot be combined with `max_delay` or with dispatch before apply.")
    if assignment == "own" and parallel:
        raise ValueError("`parallel` jobs need assignment 'random' or 'shuffled': an own worker is never busy.")
