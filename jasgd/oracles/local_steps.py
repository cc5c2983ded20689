"""Several steps of an optimizer at the worker, and what they add up to.

Serves FedBuff (Nguyen et al. 2022, https://arxiv.org/abs/2106.06639), and asynchronous Local-SGD (Liu et al. 2024,
https://arxiv.org/abs/2401.09135; recalled, not verified).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jasgd._checks import require_type
from jasgd.extra_args import trace_rule
from jasgd.oracles import _counts
from jasgd.oracles.gradient import require_one_gradient
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem


def local_steps(tx: optax.GradientTransformation, steps: ArrayLike = 1) -> Oracle:
    r"""The pseudo-gradient :math:`y_0 - y_Q` of Q steps of any Optax optimizer, from the worker's snapshot :math:`y_0`.

    Every job starts with a fresh state of the optimizer; a step-size schedule inside ``tx`` starts anew, too. If no worker
    makes more than one step, samples are those without an oracle. Else step l has the sample with the key
    ``jax.random.fold_in(key, l)``, where ``key`` is that of the job. Workers that are computed together wait for the one
    with the most steps.

    With ``optax.sgd(eta)`` and one step it is :math:`\eta` times the gradient. The server subtracts it, times its own
    learning rate: with ``optax.sgd(1.0)`` and a lone worker the server ends where the worker did. To give a rule something
    of the size of a gradient, chain ``optax.scale(1 / eta)`` in front of it, at the server: so ordered momentum of local
    steps is made (derived). With ``optax.adamw`` here, and Nesterov's momentum or :func:`jasgd.rules.delayed_nesterov` at
    the server, it is asynchronous DiLoCo (recalled).

    Args:
      tx: the worker's optimizer.
      steps: Q, a number or one for each worker. A job counts as so many gradients.

    Example:
      >>> oracle = jasgd.oracles.local_steps(optax.adamw(1e-2), steps=5)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 20)
      >>> problem = jasgd.problems.quadratic(10, noise=0.1)
      >>> run = jasgd.simulate(problem, optax.sgd(0.7), schedule, oracle=oracle, key=jax.random.key(0))
    """
    require_type("tx", tx, optax.GradientTransformation, "an Optax transformation such as optax.sgd(0.1)")
    counts = _counts.checked("steps", steps)

    def transform(problem: Problem) -> Problem:
        require_one_gradient(problem)
        _require_plain(tx, jax.eval_shape(problem.init, jax.random.key(0)))

        def sample(key: jax.Array, worker: jax.Array) -> Any:
            return problem.sample(key, worker) if np.all(counts <= 1) else (key, worker)

        def pseudo_gradient(params: optax.Params, job: Any) -> optax.Updates:
            def step(batch: Any, y: optax.Params, state: optax.OptState) -> Any:
                updates, state = tx.update(problem.gradient(y, batch), state, y)
                return optax.apply_updates(y, updates), state

            def local(index: jax.Array, at: Any) -> Any:
                key, worker = job
                return step(problem.sample(jax.random.fold_in(key, index), worker), *at)

            start = params, tx.init(params)
            if np.all(counts <= 1):
                end, _ = step(job, *start)
            else:
                end, _ = jax.lax.fori_loop(0, _counts.of(counts, job[1]), local, start)
            return jax.tree.map(jnp.subtract, params, end)

        return dataclasses.replace(
            problem, sample=sample, gradient=pseudo_gradient, mean_sample=None, partial=None, job_gradients=counts
        )

    name = f"{_counts.name(counts)} local steps"
    return Oracle(transform=transform, name=name, forward_passes=3 * counts)


def _require_plain(tx: optax.GradientTransformation, params: optax.Params) -> None:
    """A worker knows nothing of the server's clock."""
    asked = sorted(trace_rule(tx, params)[2])
    if asked:
        raise ValueError(f"`tx` asks for `{asked[0]}`, which only the server's rule is told; give a plain optimizer.")
