"""Which rules are linear is read off their programs, and so are their coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import engine, rules
from jasgd.extra_args import EXTRA_ARGS
from jasgd.flat import flattened
from jasgd.linear import linear_form

KEY = jax.random.key(0)
PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(3), "s": jnp.ones(())}
LINEAR = {
    "sgd": optax.sgd(0.1),
    "a step of one": optax.sgd(1.0),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "weight decay": optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1, momentum=0.5)),
    "ema": optax.chain(optax.ema(0.9), optax.sgd(0.1)),
    "schedule": optax.sgd(optax.exponential_decay(0.1, 3, 0.9), momentum=0.5),
    "injected": optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
    "injected schedule": optax.inject_hyperparams(optax.sgd)(learning_rate=optax.linear_schedule(0.1, 0.0, 10)),
    "delay schedule": optax.inject_hyperparams(optax.sgd)(
        learning_rate=rules.DelaySchedule(0.1, rules.delay_weights.reciprocal()), momentum=0.9
    ),
    "alike in all parts": optax.partition({"a": optax.sgd(0.1), "b": optax.sgd(0.1)}, {"w": "a", "b": "b", "s": "a"}),
    "delay adaptive": rules.delay_adaptive_sgd(0.1, 4),
    "delay before momentum": optax.chain(rules.scale_by_delay(), optax.sgd(0.1, momentum=0.5)),
    "rescaled": rules.rescaled_sgd(0.1, [1.0, 2.0, 3.0]),
    "rescaled by duration": rules.rescaled_sgd_by_duration(0.1, 1.5),
    "ormo": rules.ormo(0.1, 0.9, 3),
    "ormo_da": rules.ormo_da(0.1, 0.9, 3),
    "delayed nesterov": rules.delayed_nesterov(0.1, 0.9, 3, spread=0.1),
    "dropping": rules.drop_stale(optax.sgd(0.1, momentum=0.9), 4),
    "when applied": rules.when_applied(optax.sgd(0.1, momentum=0.9)),
}


def _scaled(factor):
    """A rule that multiplies each leaf of the gradient by ``factor`` of it."""
    return optax.GradientTransformation(
        lambda params: optax.EmptyState(), lambda g, state, params=None: (jax.tree.map(lambda x: factor(x) * x, g), state)
    )


def _mapped(function):
    """A rule that applies a function to each leaf."""
    return optax.stateless(lambda g, params: jax.tree.map(function, g, params))


NOT_LINEAR = {
    "adam": optax.adam(0.1),
    "lion": optax.lion(0.1),
    "clipping": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    "noise": optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1)),
    "decay of some leaves": optax.masked(optax.add_decayed_weights(0.1), {"w": True, "b": False, "s": False}),
    "step sizes by leaf": optax.partition({"a": optax.sgd(0.1), "b": optax.sgd(0.2)}, {"w": "a", "b": "b", "s": "b"}),
    "scaled by the size of the leaf": _scaled(lambda x: jnp.sum(jnp.full(x.shape, 0.5))),
    "scaled by coordinate": _scaled(lambda x: jnp.arange(x.size, dtype=x.dtype).reshape(x.shape)),
    "scaled by its own mean": _scaled(jnp.mean),
    "shifted": _mapped(lambda g, p: g + 1.0),
    "gradient times parameter": _mapped(lambda g, p: g * p),
    "condition on a gradient": _mapped(lambda g, p: jnp.where(g > 0, g, 0.5 * g)),
    "reversed": _mapped(lambda g, p: g[::-1] if g.ndim else g),
    "printing": _mapped(lambda g, p: (jax.debug.print("{}", g.ndim), g)[1]),
    "centralised": optax.chain(optax.centralize(), optax.sgd(0.1)),
    "stale parameters": rules.dc_asgd(0.1, 0.1),
    "tables": rules.worker_momentum(0.1, 0.9, 3),
    "a cyclic counter": optax.apply_every(3),
    "sent elsewhere": rules.weight_prediction(0.1, 0.9, 2),
}


def traced(rule, params=PARAMS):
    """A rule behind some problem."""
    problem = jasgd.Problem(
        init=lambda key: params,
        loss=lambda p, batch: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(p)),
        sample=lambda key, worker: worker,
        metrics=lambda p: {"loss": 0.0, "grad_norm": 0.0},
    )
    return engine.traced(problem, rule, params, KEY)


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_what_is_not_linear_with_the_same_coefficients_everywhere_is_refused(name):
    """Norms, products, conditions on gradients, constants, other coordinates, other coefficients in some leaves."""
    assert linear_form(traced(NOT_LINEAR[name])) is None


@pytest.mark.parametrize("name", LINEAR)
def test_the_linear_form_is_the_rule(name):
    """Update for update: on random gradients and parameters, told random things, with the state that it has made itself."""
    rule = optax.with_extra_args_support(LINEAR[name])
    program = traced(rule)
    flat = flattened(program)
    rng = np.random.default_rng(0)

    @jax.jit
    def both(gradient, states, params, told):
        (vectors, gradient_vectors), (state, flat_state) = [flat.leaves.vectors(t) for t in (params, gradient)], states
        updates, state = rule.update(gradient, state, params, **told)
        flat_updates, flat_state = flat.program.rule(
            flat.program.numbers.rule, gradient_vectors, flat_state, vectors, told, vectors
        )
        return (updates, state), flat.trees(flat_updates, flat_state), (state, flat_state)

    states = program.rule_state, flat.program.rule_state
    for step in range(8):
        gradient, params = (jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), PARAMS) for _ in range(2))
        delay, worker = int(rng.integers(0, min(step, 6) + 1)), int(rng.integers(0, 3))
        told = {"step": step, "delay": delay, "worker": worker, "duration": 1.7, "time": 3.1, "apply": bool(step % 2)}
        assert set(told) == set(EXTRA_ARGS)
        expected, got, states = both(gradient, states, params, told)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), expected, got)
        assert jax.tree.structure(expected) == jax.tree.structure(got)


def test_rules_that_differ_in_numbers_have_the_same_form():
    """So that another step size compiles nothing."""
    one, two = (flattened(traced(optax.sgd(rate, momentum=beta))).program for rate, beta in ((0.1, 0.9), (0.2, 0.8)))
    assert (one.linear, one.rule, one.gradient) == (two.linear, two.rule, two.gradient)
    assert flattened(traced(optax.sgd(0.1))).program.linear != one.linear


def test_leaves_of_several_dtypes_have_vectors_of_their_own():
    """Coefficients must be the same within a dtype; sums in single precision stay so."""
    params = {"w": jnp.ones((2, 2), jnp.bfloat16), "b": jnp.ones(3), "v": jnp.ones(4, jnp.bfloat16)}
    flat = flattened(traced(optax.sgd(0.1, momentum=0.9, accumulator_dtype=jnp.float32), params))
    described = [(v.dtype, v.shape) for v in flat.program.params]
    assert described == [(jnp.float32, (3,)), (jnp.bfloat16, (8,))]
    (momentum,) = flat.program.rule_state.like_params
    assert [v.dtype for v in momentum] == [jnp.float32, jnp.float32]
    jax.tree.map(np.testing.assert_array_equal, flat.params(flat.program.params), params)


def test_counters_stop_where_optax_stops():
    """At the largest number, one by one or several at a time."""
    linear = linear_form(traced(optax.sgd(optax.constant_schedule(0.1))))
    most = np.iinfo(np.int32).max
    for start in (0, most - 5, most - 1, most):
        count = jnp.int32(start)
        for _ in range(4):
            count = optax.safe_increment(count)
        assert int(linear.rest_after((jnp.int32(start),), 4)[0]) == int(count)
