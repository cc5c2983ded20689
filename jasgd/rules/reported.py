"""What is to be reported of a rule whose parameters are not its best estimate.

Such a rule keeps the estimate in its state, in a field called ``reported_params``. Metrics of a problem see the parameters;
:func:`report` turns the rule into one whose parameters are the estimate.
"""

from typing import Any, NamedTuple

import jax
import optax

from jasgd.rules.sent import sent_offset


def reported_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The estimate to report: ``params`` for most rules.

    Args:
      state: the state of any rule, also inside ``optax.chain``.
      params: the current parameters.

    Example:
      >>> rule = jasgd.rules.averaged_sgd(1.0, decay=0.0, start=0)
      >>> params = jnp.zeros(1)
      >>> state = rule.init(params)
      >>> for _ in range(3):
      ...     updates, state = rule.update(jnp.ones(1), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> params, jasgd.rules.reported_params(state, params)
      (Array([-3.], dtype=float32), Array([-2.5], dtype=float32))
    """
    estimate = optax.tree.get(state, "reported_params", default=None)
    if estimate is None:
        return params

    def cast(e: Any, p: Any) -> Any:
        return p if isinstance(e, optax.MaskedNode) else e.astype(p.dtype)

    return jax.tree.map(cast, estimate, params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))


class ReportState(NamedTuple):
    """State of :func:`report`."""

    reporting_inner: optax.OptState
    sent_offset: optax.Updates  # like the parameters: the inner rule's parameters, minus the estimate


def report(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The same rule with its estimate as the parameters: what ``jasgd.simulate`` records and returns is the estimate.

    Gradients are those at the inner rule's own parameters, which workers are sent.

    Args:
      inner: a rule with ``reported_params`` in its state, e.g. :func:`accelerated_sgd` or a chain that ends in it.

    Returns:
      A rule that needs ``params``, and gradients at :func:`jasgd.rules.sent_params`.

    Example:
      >>> rule = jasgd.rules.report(jasgd.rules.averaged_sgd(0.1, start=100))
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(4), updates=1000)
      >>> run = jasgd.simulate(problem, rule, schedule, key=jax.random.key(0))
    """
    rule = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> ReportState:
        inner_state = rule.init(params)
        if optax.tree.get(inner_state, "reported_params", default=None) is None or sent_offset(inner_state) is not None:
            raise ValueError("`inner` must keep `reported_params` in its state, and send workers its own parameters.")
        return ReportState(reporting_inner=inner_state, sent_offset=optax.tree.zeros_like(params))

    def update_fn(updates: Any, state: ReportState, params: Any = None, **extra_args: Any) -> Any:
        if params is None:
            raise ValueError("`report` moves from estimate to estimate: pass the current parameters to `update`.")
        own = optax.tree.add(params, state.sent_offset)
        updates, inner_state = rule.update(updates, state.reporting_inner, own, **extra_args)
        own = optax.apply_updates(own, updates)
        estimate = reported_params(inner_state, own)
        moved = optax.tree.sub(estimate, params)
        return moved, ReportState(reporting_inner=inner_state, sent_offset=optax.tree.sub(own, estimate))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
