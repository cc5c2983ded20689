r"""A step of the engine for linear rules: all versions that it creates are formed at once.

With z the parameters and what the rule remembers, the D deliveries of a step are one lower triangular system

.. math:: z_j - A_j z_{j-1} = b_j g_j, \qquad j = 1, \dots, D,

of which only coefficients are computed: every version is a combination of z_0 and of the gradients at hand, those of the W
lanes and those that have waited. What somebody will read is one product of a small matrix with the stacked gradients,
written into the ring at once. There is no loop and no operation per delivery, so the number of operations does not grow with
W; and leaves of the parameters are only told apart where a gradient is computed.

A gradient that is not finite makes all versions of its step so, also those before it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jasgd import ring
from jasgd.extra_args import EXTRA_ARGS
from jasgd.linear import Linear
from jasgd.precision import as_dtypes
from jasgd.rules._rows import sum_dtype

if TYPE_CHECKING:
    from jasgd.engine import Loop, Numbers, State
    from jasgd.plan import Plan
    from jasgd.traced import Traced


_AHEAD_BYTES = 2**26  # samples and coefficients of a block


def steps_ahead(program: "Traced", plan: "Plan") -> int:
    """Steps whose samples and coefficients are computed together: many, since each operation has its price."""
    return max(1, _AHEAD_BYTES // bytes_ahead(program, plan))


def bytes_ahead(program: "Traced", plan: "Plan") -> int:
    """Bytes of the samples and coefficients of a step."""
    deliveries, waiting, written = plan.widths
    parts = 2 + len(program.rule_state.like_params)  # parameters, what is remembered, and perhaps a gathered sum
    coefficients = (deliveries * parts) ** 2 + (written + parts) * (parts + plan.lanes + waiting)
    return plan.lanes * program.batch_bytes + 8 * coefficients


def step(loop: "Loop", numbers: "Numbers", state: "State", lane: Mapping[str, Any], batch: Any) -> "State":
    """Compute W gradients, and from them everything that the step makes."""
    snapshots = ring.numbers(ring.gather(state.ring, lane["read_slot"]))
    gradients = jax.vmap(functools.partial(loop.gradient, numbers.gradient))(snapshots, batch)
    busy = jnp.arange(loop.lanes)[:, None] < lane["computed"]  # what an idle lane has computed is nobody's
    gradients = jax.tree.map(lambda g: jnp.where(busy, g, jnp.zeros_like(g)), gradients)
    gradients = as_dtypes(gradients, state.params)
    waiting = as_dtypes(ring.numbers(ring.gather(state.ring, lane["waiting_slot"])), state.params) if loop.stores else None
    gathered = [] if state.gathered is None else [state.gathered]
    remembered = [state.params, *state.rule_state.like_params, *gathered]
    written = lane["write_slot"].shape[0]
    made = []
    for i, coefficients in enumerate(lane["made_of"]):
        z = [tree[i] for tree in remembered]
        of_z, of_gradients, of_waiting = jnp.split(coefficients, [len(z), len(z) + loop.lanes], axis=1)
        made.append(_product(of_gradients, gradients[i]))
        if waiting is not None:
            made[i] += _product(of_waiting, waiting[i])
        made[i] += sum(of_z[:, c, None] * vector[None].astype(made[i].dtype) for c, vector in enumerate(z))

    def after(c: int, tree: Any) -> tuple[jax.Array, ...]:
        return tuple(made[i][written + c].astype(vector.dtype) for i, vector in enumerate(tree))

    params, *others = (after(c, tree) for c, tree in enumerate(remembered))
    versions = tuple(rows[:written].astype(vector.dtype) for rows, vector in zip(made, params, strict=True))
    like_params = tuple(others[: len(state.rule_state.like_params)])
    return dataclasses.replace(
        state,
        params=params,
        rule_state=state.rule_state._replace(like_params=like_params),
        ring=ring.scatter(state.ring, lane["write_slot"], ring.stored(versions, state.ring)),
        gathered=others[-1] if gathered else None,
    )


def coefficients(
    loop: "Loop", linear: Linear, numbers: "Numbers", rest: tuple[jax.Array, ...], ahead: Mapping[str, Any]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """What all steps of a block make, as combinations; and the rule's counters and the like after the block.

    They do not depend on the parameters, so they are computed ahead, like samples. For every dtype a matrix per step, of
    shape (V + s, s + W + waiting): V versions, and gradients that are to wait, go into the ring, and z has s parts.
    """
    zero = jnp.zeros(())

    def of_delivery(told: Mapping[str, jax.Array], updates_before: jax.Array) -> Any:
        extra = {name: told.get(name, zero) for name in EXTRA_ARGS}
        return linear.coefficients(numbers.rule, extra, linear.rest_after(rest, updates_before))

    def of_step(rows: Mapping[str, Any]) -> Any:
        matrices, new = jax.vmap(of_delivery)({name: rows[name] for name in loop.extra_args}, rows["updates_before"])
        return tuple(_made_of(loop, linear, rows, *_deliveries(loop, rows, matrix)) for matrix in matrices), new

    made_of, new = jax.vmap(of_step)(ahead["steps"])
    last = [ring.take(values.ravel(), ahead["last_update"]) for values in new]
    return made_of, linear.rest_after(rest, ahead["updates"], last)


def _deliveries(loop: "Loop", rows: Mapping[str, Any], matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A and b of every delivery, (D, s, s) and (D, s); of places without one, the identity and zero."""
    count, size = matrix.shape[:2]

    def where(condition: jax.Array, then: jax.Array, otherwise: Any) -> jax.Array:
        return jnp.where(condition.reshape(-1, *(1,) * (then.ndim - 1)), then, jnp.asarray(otherwise, then.dtype))

    if "apply" in loop.extra_args:  # such a rule returns zero for rows that are only gathered; here they are
        update = np.arange(size)[None, :, None] == 0
        matrix = jnp.where(update & ~rows["apply"][:, None, None], jnp.zeros_like(matrix), matrix)
    a, b = matrix[..., :-1], matrix[..., -1]
    a += np.diag([1, *[0] * (size - 1)]).astype(a.dtype)[None]  # the update is added to the parameters
    weight = rows["weight"].astype(b.dtype) if "weight" in rows else jnp.ones(count, b.dtype)
    if loop.gathers:  # the weighted sum of a server step is one more thing that is remembered
        a = jnp.pad(jnp.concatenate([a, b[..., None]], axis=2), [(0, 0), (0, 1), (0, 0)])
        a = where(rows["apply"], a, np.eye(size + 1)[None])
        b = jnp.concatenate([where(rows["apply"], b, 0), where(rows["apply"], jnp.zeros((count, 1), b.dtype), 1)], axis=1)
    real = jnp.arange(count) < rows["count"]
    return where(real, a, np.eye(a.shape[1])[None]), where(real, b * weight[:, None], 0)


def _made_of(loop: "Loop", linear: Linear, rows: Mapping[str, Any], a: jax.Array, b: jax.Array) -> jax.Array:
    """What a step writes into the ring, and z after it, out of z before it and the gradients at hand."""
    (count, size), delivered_as = b.shape, rows["delivered_as"]  # of every gradient its delivery, D if it has none now
    j, sources = np.arange(count), delivered_as.shape[0]
    if linear.moves_with_gradients_alone and not loop.gathers:
        steps = jnp.concatenate([b[:, 0], jnp.zeros(1, b.dtype)])[delivered_as]
        of_gradients = jnp.where(delivered_as[None] <= j[:, None], steps[None], jnp.zeros_like(steps[None]))
        z = jnp.concatenate([jnp.ones((count, 1), b.dtype), of_gradients], axis=1)[:, None]
    else:
        follows = (j[:, None] == j[None] + 1)[:, None, :, None]
        zero = jnp.zeros((), b.dtype)
        system = jnp.eye(count * size, dtype=b.dtype) - jnp.where(follows, a[:, :, None], zero).reshape(2 * (count * size,))
        at = (delivered_as[None] == j[:, None])[:, None]
        right = jnp.concatenate([jnp.where(j[:, None, None] == 0, a, zero), jnp.where(at, b[..., None], zero)], axis=2)
        right = right.reshape(count * size, size + sources)
        z = jax.scipy.linalg.solve_triangular(system, right, lower=True, unit_diagonal=True)
        z = z.reshape(count, size, size + sources)
    stored = jnp.eye(loop.lanes, size + sources, k=size, dtype=b.dtype)
    return jnp.concatenate([jnp.concatenate([z[:, 0], stored])[rows["write_row"]], z[-1]])


def _product(coefficients: jax.Array, gradients: jax.Array) -> jax.Array:
    """In full precision, also where a device would multiply faster without."""
    wide = sum_dtype(gradients)
    return jnp.dot(coefficients, gradients.astype(wide), precision=jax.lax.Precision.HIGHEST, preferred_element_type=wide)
