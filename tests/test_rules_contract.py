"""What every update rule promises, rule by rule, and every rule against the paper's formulas in plain NumPy."""

import functools
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick
import rule_references as papers

import jasgd
from jasgd import compressors, rules
from jasgd.rules import delay_weights

pytestmark = pytest.mark.compiled_quickly
N = 3  # workers of every rule here
SGD = optax.sgd(0.1, momentum=0.9)


class Rule(NamedTuple):
    """One public factory, how to call it, and what its update needs."""

    needs: str  # keywords of `update`; rules that need `stale_params` need `params` too
    numbers: dict  # hyper-parameters that may be traced
    fixed: dict = MappingProxyType({})  # all other arguments


RATE, WORKERS, MOMENTUM = {"learning_rate": 0.1}, {"num_workers": N}, {"momentum": 0.5}
RULES = {
    "accelerated_sgd": Rule("", {"delta": 0.1, "gamma": 0.4, "alpha": 0.6, "beta": 0.3}),
    "aced": Rule("worker step delay", RATE | {"max_age": 2.0}, WORKERS),
    "adadelay": Rule("step delay", {"smoothness": 1.0, "scale": 0.5}),
    "averaged_sgd": Rule("", RATE | {"decay": 0.01, "power": 0.75}, {"start": 1.0}),
    "ca2fl": Rule("worker apply", RATE, WORKERS),
    "dana_slim": Rule("worker", RATE | MOMENTUM, WORKERS),
    "dana_zero": Rule("worker", RATE | MOMENTUM, WORKERS),
    "dc_asgd": Rule("stale_params", RATE | {"strength": 0.4}),
    "dc_asgd_adaptive": Rule("stale_params", RATE | {"strength": 0.4}),
    "delay_adaptive_sgd": Rule("delay", RATE | {"concurrency": 2.0}),
    "delay_weighted_sgd": Rule("delay", RATE, {"weight": delay_weights.reciprocal()}),
    "delayed_nesterov": Rule("step", RATE | MOMENTUM | {"spread": 0.2}, WORKERS),
    "drop_stale": Rule("delay", {"max_delay": 2.0}, {"inner": SGD}),
    "dude": Rule("worker", RATE, WORKERS),
    "ef21": Rule("worker apply", RATE, WORKERS | {"compressor": compressors.scaled_sign()}),
    "fadas": Rule("delay apply", RATE | {"critical_delay": 1.0}),
    "fedasync": Rule("stale_params delay", {"mixing": 0.5}, {"weight": delay_weights.hinge(1.0, 1)}),
    "fedbuff": Rule("delay apply", RATE, {"inner": optax.trace(0.9)}),
    "fedvarp": Rule("worker apply", RATE, WORKERS),
    "gap_aware": Rule("stale_params", RATE | MOMENTUM | {"decay": 0.9}),
    "gather": Rule("apply", {}),
    "mifa": Rule("worker apply", RATE, WORKERS | {"start": "zero"}),
    "ormo": Rule("step delay", RATE | MOMENTUM, WORKERS),
    "ormo_da": Rule("step delay", RATE | MOMENTUM | {"smoothness": 5.0, "kappa": 0.25}, {"num_workers": 1}),
    "picky": Rule("stale_params", {"radius": 0.4}, {"inner": SGD}),
    "pipeline_nesterov": Rule("", RATE | MOMENTUM),
    "precondition": Rule("", {"preconditioner": 0.5}),
    "report": Rule("", {}, {"inner": rules.averaged_sgd(0.1, start=1.0)}),
    "rescaled_sgd": Rule("worker", RATE, {"times": [1.0, 2.0, 4.0], "normaliser": "max"}),
    "rescaled_sgd_by_delay": Rule("delay", RATE, WORKERS),
    "rescaled_sgd_by_duration": Rule("duration", RATE | {"mean_duration": 2.0}),
    "ringleader": Rule("worker apply", RATE, WORKERS),
    "saga": Rule("worker", RATE, WORKERS),
    "scale_by_aced": Rule("worker step delay", {"max_age": 2.0}, WORKERS),
    "scale_by_adadelay": Rule("step delay", {"smoothness": 1.0, "scale": 0.5}),
    "scale_by_adadelay_per_coordinate": Rule("step delay", {"smoothness": 1.0}),
    "scale_by_adaptive_delay_compensation": Rule("stale_params", {"strength": 0.4, "decay": 0.9, "eps": 1e-3}),
    "scale_by_ca2fl": Rule("worker apply", {}, WORKERS),
    "scale_by_computation_time": Rule("worker", {}, {"times": [1.0, 2.0, 4.0]}),
    "scale_by_dana_slim": Rule("worker", MOMENTUM, WORKERS),
    "scale_by_dana_zero": Rule("worker", RATE | MOMENTUM, WORKERS),
    "scale_by_delay": Rule("delay", {}),
    "scale_by_delay_compensation": Rule("stale_params", {"strength": 0.4}),
    "scale_by_delay_share": Rule("delay", {}, WORKERS),
    "scale_by_delayed_nesterov": Rule("step", MOMENTUM | {"spread": 0.2}, WORKERS),
    "scale_by_dude": Rule("worker", {}, WORKERS),
    "scale_by_duration": Rule("duration", {"mean_duration": 2.0}),
    "scale_by_ef21": Rule("worker apply", {}, WORKERS | {"compressor": compressors.scaled_down(compressors.natural())}),
    "scale_by_fadas": Rule("delay apply", {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "critical_delay": 1.0}),
    "scale_by_fedvarp": Rule("worker apply", {}, WORKERS),
    "scale_by_gap": Rule("stale_params", RATE | {"decay": 0.9}),
    "scale_by_mixing": Rule("stale_params", {}),
    "scale_by_ormo": Rule("step delay", MOMENTUM, WORKERS | {"barrier": True}),
    "scale_by_pipemare": Rule("step delay", {"anneal_steps": 4.0}),
    "scale_by_ringleader": Rule("worker apply", {}, WORKERS),
    "scale_by_saga": Rule("worker", {}, WORKERS),
    "scale_by_smega2": Rule("", RATE | MOMENTUM, WORKERS | {"advanced": False}),
    "scale_by_weight_prediction": Rule("", RATE | MOMENTUM | {"expected_delay": 2.0, "dampening": 0.1}),
    "scale_by_worker_momentum": Rule("worker", MOMENTUM | {"dampening": 0.1}, WORKERS),
    "semi_asynchronous_dude": Rule("worker apply", RATE, WORKERS),
    "smega2": Rule("", RATE | MOMENTUM, WORKERS),
    "staleness_aware_sgd": Rule("delay", RATE),
    "weight_prediction": Rule("", RATE | MOMENTUM | {"expected_delay": 2.0}),
    "when_applied": Rule("apply", {}, {"inner": SGD}),
    "worker_momentum": Rule("worker", RATE | MOMENTUM | {"dampening": 0.1}, WORKERS),
}
NOT_TRANSFORMATIONS = {"DelaySchedule", "Pair", "delay_weights", "inverse_step", "reported_params", "sent_params"}
NOT_TRANSFORMATIONS |= {"storm"}  # of pairs: test_pairs.py
# Of those that do not compare them with `stale_params`, these need `params`.
NEEDS_PARAMS = {"accelerated_sgd", "averaged_sgd", "report"}
# Arguments that set sizes, choose a branch, or are no numbers; all others are hyper-parameters.
FIXED = {"num_workers", "inner", "table", "times", "normaliser", "start", "barrier", "catch_up", "advanced", "weight"}
FIXED |= {"compressor", "seed"}
WEIGHTS = {
    "delay_adaptive": {"concurrency": 2.0},
    "smoothness_capped": {"learning_rate": 0.1, "smoothness": 1.0, "threshold": 1.0, "kappa": 0.25},
    "reciprocal_beyond": {"concurrency": 2.0},
    "drop_beyond": {"max_delay": 2.0},
    "two_level": {"cutoff": 2.0, "value": 0.5},
    "reciprocal": {},
    "polynomial": {"power": 0.5},
    "hinge": {"slope": 2.0, "threshold": 1.0},
}

every_rule = pytest.mark.parametrize("name", RULES)

# Four arrivals: every worker delivers, the first one twice.
ARRIVALS = {
    "worker": np.int32([0, 1, 2, 0]),
    "delay": np.int32([0, 1, 0, 3]),
    "step": np.int32([0, 1, 2, 3]),
    "duration": np.float32([1, 2, 3, 4]),
    "time": np.float32([1, 2, 4, 7]),
    "apply": np.array([False, True, False, True]),
}
SHAPES = {"dense": {"kernel": (3, 2)}, "bias": (2,)}


def normals(shapes, seed, dtype):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda shape: rng.normal(size=shape).astype(dtype), shapes, is_leaf=lambda x: isinstance(x, tuple))


def data(shapes=SHAPES, dtype=jnp.float32, **changes):
    """Parameters, and per arrival a gradient and what the simulator offers; snapshots are off by a tenth of the delay."""
    params, arrivals = normals(shapes, 0, dtype), []
    for t in range(4):
        offered = {name: column[t] for name, column in (ARRIVALS | changes).items()}
        offered["stale_params"] = jax.tree.map(lambda p, d=offered["delay"]: (p - 0.1 * d).astype(dtype), params)
        arrivals.append((normals(shapes, 1 + t, dtype), offered))
    return jax.tree.map(jnp.asarray, (params, arrivals))


def make(name, **changes):
    """The rule, perhaps with other arguments."""
    return getattr(rules, name)(**{**RULES[name].fixed, **RULES[name].numbers, **changes})


def arrive(rule, params, arrivals):
    """The update of every arrival, and the last state."""
    rule, state, all_updates = optax.with_extra_args_support(rule), rule.init(params), []
    for gradient, offered in arrivals:
        updates, state = rule.update(gradient, state, params, **offered)
        all_updates.append(updates)
    return all_updates, state


def play(rule, params, arrivals):
    """The same, operation by operation: sixty rules share theirs, which takes less time than sixty compilations."""
    with jax.disable_jit():
        return arrive(rule, params, arrivals)


@functools.cache
def plain_updates(name):
    """Of the rule by itself."""
    return play(make(name), *data())[0]


def assert_close(actual, expected, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


# The table


def test_every_public_rule_is_under_contract():
    """A new public name of jasgd.rules belongs into the table, or is named as something else than a rule."""
    assert set(RULES) == set(rules.__all__) - NOT_TRANSFORMATIONS


def test_every_weight_is_under_contract():
    """So does a new weight."""
    functions = {name for name, _ in inspect.getmembers(delay_weights, inspect.isfunction) if not name.startswith("_")}
    assert {name for name in functions if not name.startswith("require")} == set(WEIGHTS) | {"normalised"}


@every_rule
def test_the_table_knows_every_argument(name):
    """Every hyper-parameter without a default is traced below, and most others."""
    parameters = inspect.signature(getattr(rules, name)).parameters.values()
    traceable = {p.name for p in parameters if p.name not in FIXED}
    optional = {p.name for p in parameters if p.default is not inspect.Parameter.empty}
    assert set(RULES[name].fixed) <= FIXED
    assert traceable - optional <= set(RULES[name].numbers) <= traceable


@every_rule
def test_every_rule_cites_its_paper(name):
    """CITATION of the rule's module is BibTeX."""
    module = inspect.getmodule(getattr(rules, name))
    if module.__name__ not in {"jasgd.rules.when_applied", "jasgd.rules.reported"}:
        assert module.CITATION.lstrip().startswith("@")
        assert module.CITATION.count("{") == module.CITATION.count("}") > 0


def test_no_two_states_share_a_field_name():
    """``optax.tree.get`` finds one field, whatever rules are chained; two mean the same in all."""
    owners = {}
    for file in pkgutil.iter_modules(rules.__path__):
        module = importlib.import_module(f"jasgd.rules.{file.name}")
        for name, state in inspect.getmembers(module, inspect.isclass):
            if issubclass(state, tuple) and state.__module__ == module.__name__:
                for field in state._fields:
                    owners.setdefault(field, []).append(name)
    assert len(owners) > 40
    assert {field for field, names in owners.items() if len(names) > 1} == {"reported_params", "sent_offset"}
    assert not {"count", "mu", "nu", "trace", "step", "inner_state", "hyperparams"} & set(owners)


# Keywords


@every_rule
def test_unknown_keywords_are_ignored(name):
    """All that the simulator offers, and a colour, change nothing; the keywords of the table are enough."""
    rule, needs = make(name), RULES[name].needs.split()
    params, arrivals = data()

    def update(updates, state, params, **offered):
        given = params if "stale_params" in needs or name in NEEDS_PARAMS else None
        return rule.update(updates, state, given, **{key: offered[key] for key in needs})

    more = [(g, offered | {"colour": jnp.zeros(7)}) for g, offered in arrivals]
    only_needed = optax.GradientTransformationExtraArgs(rule.init, update)
    assert_close(play(rule, params, more)[0], play(only_needed, params, arrivals)[0])


@pytest.mark.parametrize(("name", "keyword"), [(name, keyword) for name, r in RULES.items() for keyword in r.needs.split()])
def test_a_forgotten_keyword_is_an_error(name, keyword):
    """Needed keywords have no default, and the error names the one that is missing."""
    params, arrivals = data()
    forgetful = [(g, {key: value for key, value in offered.items() if key != keyword}) for g, offered in arrivals]
    with pytest.raises(TypeError, match=keyword):
        jax.eval_shape(functools.partial(arrive, make(name)), params, forgetful)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if "stale_params" in rule.needs])
def test_forgotten_params_are_an_error(name):
    """A rule that compares with the current parameters says so."""
    params, [(gradient, offered), *_] = data()
    rule = make(name)
    with pytest.raises(ValueError, match="pass the current parameters to `update`"):
        rule.update(gradient, rule.init(params), **offered)


# Dtypes, shapes, compilation


def kinds(tree):
    """Shapes and dtypes, and whether these are weak."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@every_rule
def test_dtypes_are_kept_through_scan_and_cond(name, dtype):
    """Updates have the gradients' dtype; the state keeps tree, shapes and dtypes, weak ones too, in loops and branches."""
    with jax.enable_x64(dtype == "float64"):
        params, arrivals = data(dtype=jnp.dtype(dtype))
        rule = make(name)

        def step(state, row):
            gradient, offered = row
            once = rule.update(gradient, state, params, **offered)
            twice = jax.lax.cond(offered["apply"], lambda: rule.update(*once, params, **offered), lambda: once)
            return twice[::-1]

        def run():
            state = rule.init(params)
            return state, *jax.lax.scan(step, state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrivals))

        state, after, updates = jax.eval_shape(run)
        assert kinds(updates) == jax.tree.map(lambda p: ((4, *p.shape), p.dtype, False), params)
        assert kinds(after) == kinds(state)
        allowed = {jnp.dtype(d) for d in (dtype, jnp.promote_types(dtype, "float32"), "int32", "bool")}
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= allowed


@every_rule
def test_init_works_on_abstract_shapes(name):
    """``jax.eval_shape`` of init gives the shapes of the real state, and Optax finds the parameters in it."""
    params, rule = data()[0], make(name)
    state = rule.init(params)
    abstract = jax.eval_shape(rule.init, jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params))
    assert kinds(abstract) == kinds(state)
    mapped = optax.tree.map_params(rule, lambda leaf: leaf, state)
    assert kinds(mapped) == kinds(state)


def test_a_second_call_compiles_nothing():
    """Of all rules: arrival after arrival, from the initial state on, and with other hyper-parameters: one trace."""
    params, arrivals = data()
    traces = []

    @quick.jit
    def update(numbers, states, gradient, offered):
        traces.append(1)
        return {name: make(name, **numbers[name]).update(gradient, states[name], params, **offered)[1] for name in RULES}

    numbers = {name: rule.numbers for name, rule in RULES.items()}
    states = {name: make(name).init(params) for name in RULES}
    for gradient, offered in arrivals:
        states = update(numbers, states, gradient, offered)
        numbers = jax.tree.map(lambda value: 0.9 * value, numbers)
    assert len(traces) == 1


@every_rule
def test_a_tree_without_leaves_is_fine(name):
    """A part of a partition may be empty."""
    arrivals = [({}, offered | {"stale_params": {}}) for _, offered in data()[1]]
    assert play(make(name), {}, arrivals)[0] == [{}] * 4


DIVIDES_BY_ITS_STATE = [
    "dc_asgd_adaptive",
    "fadas",
    "gap_aware",
    "scale_by_adadelay_per_coordinate",
    "scale_by_adaptive_delay_compensation",
    "scale_by_fadas",
    "scale_by_gap",
]


@pytest.mark.parametrize("size", [0.0, 1e-3])
@pytest.mark.parametrize("name", DIVIDES_BY_ITS_STATE)
def test_small_gradients_are_harmless_in_half_precision(name, size):
    """In float16, where 1e-8 and the squares of small numbers are zero: nothing infinite, no NaN, and zero stays zero."""
    params, arrivals = data(dtype=jnp.float16)
    small = [(jax.tree.map(lambda g: jnp.full_like(g, size), gradient), offered) for gradient, offered in arrivals]
    for leaf in jax.tree.leaves(play(make(name), params, small)[0]):
        assert (jnp.abs(leaf) <= (10 if size else 0)).all()


# Composition


@every_rule
def test_rules_work_in_a_chain(name):
    """Clipping before and momentum after: the same as one after the other."""
    params, arrivals = data()
    links = optax.clip_by_global_norm(0.5), make(name), optax.trace(0.9)
    after = arrivals
    for link in links:
        after = [(updates, offered) for updates, (_, offered) in zip(play(link, params, after)[0], arrivals, strict=True)]
    assert_close(play(optax.chain(*links), params, arrivals)[0], [updates for updates, _ in after])


def on_the_kernel(rule, params, arrivals):
    """Updates and sent parameters of a rule that sees nothing but the kernel."""
    alone = [(g["dense"], offered | {"stale_params": offered["stale_params"]["dense"]}) for g, offered in arrivals]
    updates, state = play(rule, params["dense"], alone)
    return updates, rules.sent_params(state, params["dense"])


@every_rule
def test_rules_work_masked(name):
    """Masked to a part of the tree, a rule does there what it does to that part alone; the rest passes."""
    params, arrivals = data()
    rule = optax.masked(make(name), {"dense": {"kernel": True}, "bias": False}, mask_compatible_extra_args=True)
    updates, state = play(rule, params, arrivals)
    expected, sent = on_the_kernel(make(name), params, arrivals)
    assert_close(updates, [{"dense": u, "bias": g["bias"]} for u, (g, _) in zip(expected, arrivals, strict=True)])
    assert_close(rules.sent_params(state, params), {"dense": sent, "bias": params["bias"]})


@every_rule
def test_rules_work_in_a_partition(name):
    """A rule for a part, plain SGD for the rest."""
    params, arrivals = data()
    labels = {"dense": {"kernel": "rule"}, "bias": "sgd"}
    rule = optax.partition({"rule": make(name), "sgd": optax.sgd(0.5)}, labels, mask_compatible_extra_args=True)
    updates, state = play(rule, params, arrivals)
    expected, sent = on_the_kernel(make(name), params, arrivals)
    assert_close(updates, [{"dense": u, "bias": -0.5 * g["bias"]} for u, (g, _) in zip(expected, arrivals, strict=True)])
    assert_close(rules.sent_params(state, params), {"dense": sent, "bias": params["bias"]})


@every_rule
def test_rules_work_with_injected_hyperparameters(name):
    """``optax.inject_hyperparams`` turns the numbers into state; counts, tables and functions are static."""
    factory, (params, arrivals) = getattr(rules, name), data()
    static = FIXED & set(inspect.signature(factory).parameters)
    rule = optax.inject_hyperparams(factory, static_args=static)(**RULES[name].fixed, **RULES[name].numbers)
    updates, state = play(rule, params, arrivals)
    assert set(state.hyperparams) >= set(RULES[name].numbers)
    assert_close(updates, plain_updates(name))


def halved_one_by_one(numbers):
    """The numbers, and once for each of them with that one halved."""
    return [numbers, *({**numbers, key: value / 2} for key, value in numbers.items())]


def stacked(settings):
    """As arrays of five, whatever their number, so that all rules share the same operations."""
    return {key: jnp.array([setting[key] for setting in (settings + settings[:1] * 5)[:5]]) for key in settings[0]}


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.numbers])
def test_vmap_over_hyperparameters_equals_a_loop(name):
    """One row per hyper-parameter, each with that number halved: as with plain numbers, one after the other."""
    settings = halved_one_by_one(RULES[name].numbers)
    together = jax.vmap(lambda numbers: play(make(name, **numbers), *data())[0])(stacked(settings))
    one_by_one = [plain_updates(name), *(play(make(name, **numbers), *data())[0] for numbers in settings[1:])]
    for row, expected in enumerate(one_by_one):
        assert_close(jax.tree.map(lambda leaf, row=row: leaf[row], together), expected)


def compare_sharded():
    """All rules on eight devices, the parameters split along their first axis, against one device."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("devices",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
    rows_of_split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "devices"))
    assert len(jax.devices()) == 8
    params, arrivals = data({"dense": {"kernel": (8, 2)}})

    @quick.jit
    def run(params, rows):
        def updates_of(rule):
            def step(state, row):
                return rule.update(row[0], state, params, **row[1])[::-1]

            return jax.lax.scan(step, rule.init(params), rows)[1]

        return {name: updates_of(make(name)) for name in RULES}

    gradients, offered = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrivals)
    one = run(params, (gradients, offered))
    gradients, stale = jax.device_put((gradients, offered["stale_params"]), rows_of_split)
    many = run(jax.device_put(params, split), (gradients, offered | {"stale_params": stale}))
    for name in RULES:
        assert_close(many[name], one[name])
        assert all(leaf.sharding.is_equivalent_to(rows_of_split, leaf.ndim) for leaf in jax.tree.leaves(many[name])), name


def test_sharded_parameters_give_the_same_updates():
    """Eight fake devices in a process of its own: equal updates, split as the parameters are."""
    here = Path(__file__).parent
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
    }
    code = "import test_rules_contract; test_rules_contract.compare_sharded()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Signs, delay 0, workers outside


def resting(arrivals, params, **changes):
    """Arrivals without delay: every gradient was computed at the current parameters."""
    return [(g, offered | {"stale_params": params, "delay": jnp.int32(0)} | changes) for g, offered in arrivals]


@every_rule
def test_scale_by_keeps_the_sign_and_the_ready_rule_turns_it(name):
    """With a constant positive gradient the updates add up to one sign in every coordinate."""
    params, arrivals = data()
    ones = [(jax.tree.map(jnp.ones_like, g), offered) for g, offered in resting(arrivals, params, apply=jnp.asarray(True))]
    total = jax.tree.map(lambda *leaves: sum(leaves), *play(make(name), params, ones)[0])
    keeps = name.startswith("scale_by_") or name in {"gather", "precondition"}
    assert all((leaf > 0 if keeps else leaf < 0).all() for leaf in jax.tree.leaves(total))


AT_DELAY_0 = {
    "delay_adaptive_sgd": lambda: rules.delay_adaptive_sgd(0.1, concurrency=3),
    "staleness_aware_sgd": lambda: rules.staleness_aware_sgd(0.1),
    "dc_asgd": lambda: rules.dc_asgd(0.1, strength=0.5),
    "dc_asgd_adaptive": lambda: rules.dc_asgd_adaptive(0.1, strength=0.5),
    "gap_aware": lambda: rules.gap_aware(0.1),
    "drop_stale": lambda: rules.drop_stale(optax.sgd(0.1), max_delay=0),
    "picky": lambda: rules.picky(optax.sgd(0.1), radius=0.0),
    "fedasync": lambda: rules.fedasync(0.1, weight=delay_weights.polynomial(0.5)),
    "scale_by_pipemare": lambda: optax.chain(rules.scale_by_pipemare(10), optax.sgd(0.1)),
    "rescaled_sgd_by_delay": lambda: rules.rescaled_sgd_by_delay(0.1, num_workers=1),
    "rescaled_sgd": lambda: rules.rescaled_sgd(0.1, times=[2.0, 2.0, 2.0]),
    "DelaySchedule": lambda: optax.inject_hyperparams(optax.sgd)(rules.DelaySchedule(0.1, delay_weights.reciprocal())),
    **{
        name: lambda name=name: rules.delay_weighted_sgd(0.1, getattr(delay_weights, name)(**WEIGHTS[name]))
        for name in WEIGHTS
    },
}


@pytest.mark.compiled_fully
@pytest.mark.parametrize("name", AT_DELAY_0)
def test_at_delay_0_it_is_sgd_bit_for_bit(name):
    """Fresh gradients are not weighted, compensated or refused."""
    params, arrivals = data()
    fresh = resting(arrivals, params)
    assert_close(play(AT_DELAY_0[name](), params, fresh)[0], play(optax.sgd(0.1), params, fresh)[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if "worker" in rule.needs])
def test_a_worker_outside_the_table_gives_nan(name):
    """One worker too many must not pass for a plausible curve: after it, if not at once, the updates are NaN."""
    params, arrivals = data(worker=np.int32([0, 1, 2, N]), delay=np.zeros(4, np.int32), apply=np.full(4, True))
    rows = [
        (g, offered | {"step": jnp.int32(t)}) for t, (g, offered) in enumerate([*arrivals, *arrivals[:3], *arrivals[:3]])
    ]
    lost = [all(bool(jnp.isnan(leaf).all()) for leaf in jax.tree.leaves(u)) for u in play(make(name), params, rows)[0]]
    assert not any(lost[:3])
    assert any(lost[3:])


# Weights of the delay


@pytest.mark.parametrize("name", WEIGHTS)
def test_normalised_weights_are_one_at_the_average_delay(name):
    """Any weight, divided by what it is there."""
    weight = getattr(delay_weights, name)(**WEIGHTS[name])
    values, normalised = weight(jnp.arange(12)), delay_weights.normalised(weight, average_delay=2)(jnp.arange(12))
    np.testing.assert_allclose(normalised, values / values[2], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in WEIGHTS if WEIGHTS[name]])
def test_weights_can_be_mapped_over_their_numbers(name):
    """Halved one by one under vmap: the same as one after the other."""

    def one(numbers):
        return getattr(delay_weights, name)(**numbers)(jnp.arange(6))

    settings = halved_one_by_one(WEIGHTS[name])
    together = jax.vmap(one)(stacked(settings))[: len(settings)]
    np.testing.assert_allclose(together, [one(setting) for setting in settings], rtol=1e-6)


# Refusals

FACTORIES = {name: functools.partial(make, name) for name in RULES} | {
    name: lambda name=name, **changes: getattr(delay_weights, name)(**{**WEIGHTS[name], **changes}) for name in WEIGHTS
}
# These look at `learning_rate` themselves. All others hand it to optax.scale_by_learning_rate, schedules included.
KNOWS_ITS_RATE = {
    *("dana_zero", "scale_by_dana_zero", "smega2", "scale_by_smega2", "weight_prediction", "scale_by_weight_prediction"),
    *("pipeline_nesterov", "ormo_da", "gap_aware", "scale_by_gap", "smoothness_capped", "averaged_sgd"),
}
NUMBERS = [
    (name, key)
    for name, numbers in [*((name, rule.numbers) for name, rule in RULES.items()), *WEIGHTS.items()]
    for key in numbers
    if key != "learning_rate" or name in KNOWS_ITS_RATE
]


@pytest.mark.parametrize("wrong", [-1.0, np.float32(-1), float("nan"), True, "much"], ids=str)
@pytest.mark.parametrize(("name", "key"), NUMBERS)
def test_impossible_numbers_are_refused(name, key, wrong):
    """Negative numbers, NaN, booleans and words: one sentence that names the argument and shows the value."""
    with pytest.raises(ValueError, match=rf"^`{key}` must be .*, got {re.escape(repr(wrong))}\.$"):
        FACTORIES[name](**{key: wrong})


@pytest.mark.parametrize("wrong", [0, -2, 2.0, True, None, "3"], ids=str)
@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if "num_workers" in rule.fixed])
def test_impossible_numbers_of_workers_are_refused(name, wrong):
    """A count is a positive whole number."""
    with pytest.raises(ValueError, match=r"^`num_workers` must be a positive whole number, got .*\.$"):
        make(name, num_workers=wrong)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("worker_momentum", {"momentum": 1.0}, r"`momentum` must be a number in \[0, 1\), got 1\.0"),
        ("worker_momentum", {"dampening": 1.5}, r"`dampening` must be a number in \[0, 1\), got 1\.5"),
        ("delayed_nesterov", {"spread": 0.5}, r"`spread` must be a number in \[0, 1/3\], got 0\.5"),
        ("fedasync", {"mixing": 0.0}, r"`mixing` must be a number in \(0, 1\], got 0\.0"),
        ("fedasync", {"mixing": 1.5}, r"`mixing` must be a number in \(0, 1\], got 1\.5"),
        ("fedasync", {"weight": 0.5}, "`weight` must be a function of the delay"),
        ("scale_by_delay", {"weight": 0.5}, "`weight` must be a function of the delay"),
        ("delay_weighted_sgd", {"weight": 0}, "`weight` must be a function of the delay"),
        ("fedbuff", {"weight": 0}, "`weight` must be a function of the delay"),
        ("adadelay", {"scale": 0.0}, "`scale` must be a positive number, got 0.0"),
        ("scale_by_pipemare", {"anneal_steps": 0}, "`anneal_steps` must be a positive number, got 0"),
        ("scale_by_duration", {"mean_duration": 0.0}, "`mean_duration` must be a positive number, got 0.0"),
        ("scale_by_fadas", {"b1": 1.0}, r"`b1` must be a number in \[0, 1\), got 1\.0"),
        ("scale_by_fadas", {"eps": 0.0}, "`eps` must be a positive number, got 0.0"),
        ("dude", {"start": "soon"}, "`start` must be 'wait' or 'zero', got 'soon'"),
        ("mifa", {"start": "soon"}, "`start` must be 'wait' or 'zero', got 'soon'"),
        ("semi_asynchronous_dude", {"start": None}, "`start` must be 'wait' or 'zero', got None"),
        ("rescaled_sgd", {"times": [1.0, np.inf]}, "`times` must be positive and finite, but worker 1 has inf"),
        ("rescaled_sgd", {"times": [1.0, np.nan]}, "`times` must be positive and finite, but worker 1 has nan"),
        ("rescaled_sgd", {"times": [0.0, 1.0]}, "`times` must be positive and finite, but worker 0 has 0.0"),
        ("rescaled_sgd", {"times": []}, r"`times` must be one number per worker, got an array of shape \(0,\)"),
        ("rescaled_sgd", {"times": 2.0}, r"`times` must be one number per worker, got an array of shape \(\)"),
        ("rescaled_sgd", {"normaliser": "mean"}, "`normaliser` must be one of .*, got 'mean'"),
        ("ormo_da", {"learning_rate": lambda t: 0.1}, "with `smoothness`, `learning_rate` must be a number"),
        ("ormo_da", {"learning_rate": 0.0}, "`learning_rate` must be a positive number, got 0.0"),
        ("hinge", {"slope": -1}, "`slope` must be a number that is not negative, got -1"),
    ],
)
def test_other_impossible_arguments_are_refused(name, changes, message):
    """One sentence: what is expected, and what came."""
    with pytest.raises((ValueError, TypeError), match=message):
        FACTORIES[name](**changes)


@pytest.mark.parametrize("wrong", [-1, float("nan"), True])
def test_an_impossible_decay_is_refused(wrong):
    """``inverse_step`` checks its only number."""
    with pytest.raises(ValueError, match="`decay` must be a number that is not negative"):
        rules.inverse_step(wrong)


@pytest.mark.parametrize("name", [name for name in RULES if "table" in inspect.signature(getattr(rules, name)).parameters])
def test_a_table_of_the_wrong_shape_is_refused(name):
    """One entry per worker, each like the parameters."""
    for shape in [(N - 1, 2), (2,), (N, 3)]:
        with pytest.raises(ValueError, match=r"`table` must hold one entry per worker, shape \(3, 2\), got shape \("):
            make(name, table=jnp.zeros(shape)).init(jnp.zeros(2))


# The papers, in plain NumPy

K, DIM, ROWS, SEEDS = 4, 3, 60, (0, 1, 2)
draw = np.random.default_rng(3)
MATRICES = np.stack([(q * [0.2, 0.6, 1.0]) @ q.T for q in np.linalg.qr(draw.normal(size=(K, DIM, DIM)))[0]])
CENTRES, START, TABLE = draw.normal(size=(K, DIM)), np.array([2.0, -1.0, 0.5]), draw.normal(size=(K, DIM))
TIMES = np.array([1.0, 1.7, 2.9, 6.1])


def gradient(w, worker):
    """Of a worker's own quadratic."""
    return MATRICES[worker] @ (w - CENTRES[worker])


@functools.cache
def one_by_one(seed, **policy):
    """A random asynchronous schedule; long jobs make long delays."""
    fleet = [jasgd.fleet.lognormal(np.log(TIMES), 1.2), jasgd.fleet.exponential(TIMES)][seed % 2]
    return jasgd.protocols.asynchronous(fleet, ROWS, seed=seed, **policy)


def behind_a_barrier(seed):
    return one_by_one(seed, wait_for=K)


def gathered(seed, apply):
    """The arrivals of ``one_by_one``, but the server steps only after some; every worker goes on with what there is.

    Weights are not one: rules that ask for ``apply`` must not see them.
    """
    schedule, end = one_by_one(seed), int(np.flatnonzero(apply)[-1]) + 1
    versions, last, read = np.cumsum(apply), [0] * K, []
    for k, worker in enumerate(schedule.worker[:end]):
        read.append(last[worker])
        last[worker] = versions[k]
    columns = {name: getattr(schedule, name)[:end] for name in ("worker", "job", "start", "time")}
    return jasgd.Schedule(
        **columns, read=np.array(read), apply=np.array(apply)[:end], weight=np.full(end, 1 / 3), num_workers=K
    ).verify()


def three_at_a_time(seed):
    return gathered(seed, np.arange(ROWS) % 3 == 2)


def rounds_of_different_workers(seed):
    """A round ends before a worker would deliver into it a second time."""
    apply, members = [], set()
    for worker in one_by_one(seed).worker:
        if worker in members:
            apply[-1], members = True, set()
        members.add(worker)
        apply.append(False)
    return gathered(seed, apply)


def ringleader_rounds(seed):
    """The server steps when an unmarked worker meets, or makes, a full table."""
    apply, table, next_table, marked = [], set(), set(), set()
    for worker in one_by_one(seed).worker:
        (next_table if worker in marked else table).add(worker)
        apply.append(worker not in marked and len(table) == K)
        if apply[-1]:
            marked.add(worker)
        if len(marked) == K:
            table, next_table, marked = next_table, set(), set()
    return gathered(seed, apply)


class Paper(NamedTuple):
    """A rule, its reference, and the kind of schedule that they are compared on; the first two are made when needed."""

    rule: Callable[[], optax.GradientTransformation]
    reference: Callable[[], Any]
    schedule: Callable[[int], jasgd.Schedule] = one_by_one


def weighted(weight, reference):
    """SGD with a weight of the delay."""
    return Paper(lambda: rules.delay_weighted_sgd(0.1, weight), lambda: papers.Weighted(0.1, reference))


def rescaled(normaliser, average):
    return Paper(
        lambda: rules.rescaled_sgd(0.05, TIMES, normaliser=normaliser), lambda: papers.RescaledByTime(0.05, TIMES, average)
    )


def falling(k):
    return 0.1 / (1.0 + 0.2 * k)


def rising(k):
    return 0.02 * (1.0 + 0.1 * k)


HEAVY_BALL = optax.sgd(0.05, momentum=0.8)
PAPERS = {
    "concurrency over delay": Paper(
        lambda: rules.delay_adaptive_sgd(0.1, 2), lambda: papers.Weighted(0.1, lambda tau: 2 / max(2, tau))
    ),
    "capped by smoothness": weighted(
        delay_weights.smoothness_capped(0.1, 1.0), lambda tau: min(0.1, 1 / (4 * 1.0 * max(tau, 1))) / 0.1
    ),
    "capped beyond a threshold": weighted(
        delay_weights.smoothness_capped(0.1, 2.0, threshold=3, kappa=0.5),
        lambda tau: 1 if tau <= 3 else min(0.1, 0.5 / (2.0 * tau)) / 0.1,
    ),
    "reciprocal beyond": weighted(delay_weights.reciprocal_beyond(3), lambda tau: 1 if tau <= 3 else 1 / tau),
    "dropped beyond": weighted(delay_weights.drop_beyond(3), lambda tau: 1 if tau <= 3 else 0),
    "two levels": weighted(delay_weights.two_level(3, 0.3), lambda tau: 1 if tau <= 3 else 0.3),
    "staleness-aware": Paper(
        lambda: rules.staleness_aware_sgd(0.1), lambda: papers.Weighted(0.1, lambda tau: 1 / max(tau, 1))
    ),
    "polynomial": weighted(delay_weights.polynomial(0.7), lambda tau: (1 + tau) ** -0.7),
    "hinge": weighted(delay_weights.hinge(4.0, 2), lambda tau: 1 if tau <= 2 else 1 / (4 * (tau - 2) + 1)),
    "normalised": weighted(
        delay_weights.normalised(delay_weights.polynomial(0.5), 3), lambda tau: ((1 + tau) / (1 + 3)) ** -0.5
    ),
    "decaying step": Paper(
        lambda: optax.chain(optax.scale_by_schedule(rules.inverse_step(0.1)), optax.sgd(0.1)),
        lambda: papers.DecayingStep(0.1, 0.1),
    ),
    "delay in the learning rate": Paper(
        lambda: optax.inject_hyperparams(optax.sgd)(rules.DelaySchedule(0.1, delay_weights.reciprocal()), momentum=0.5),
        lambda: papers.DelayedRateMomentum(0.1, 0.5, lambda tau: 1 / max(tau, 1)),
    ),
    "AdaDelay": Paper(lambda: rules.adadelay(2.0, 0.7), lambda: papers.AdaDelay(2.0, 0.7)),
    "AdaDelay per coordinate": Paper(
        lambda: optax.chain(rules.scale_by_adadelay_per_coordinate(2.0), optax.scale(-1.0)),
        lambda: papers.AdaDelayPerCoordinate(2.0),
    ),
    "PipeMare": Paper(lambda: optax.chain(rules.scale_by_pipemare(40), optax.sgd(0.1)), lambda: papers.Pipemare(0.1, 40)),
    "Picky": Paper(
        lambda: rules.picky(HEAVY_BALL, 0.4),
        lambda: papers.Gated(0.05, 0.8, lambda w, row: np.linalg.norm(w - row.stale) <= 0.4),
    ),
    "drop by age": Paper(
        lambda: rules.drop_stale(HEAVY_BALL, 3), lambda: papers.Gated(0.05, 0.8, lambda w, row: row.delay <= 3)
    ),
    "FedAsync": Paper(
        lambda: rules.fedasync(0.3, weight=delay_weights.hinge(2.0, 2)),
        lambda: papers.FedAsync(0.3, lambda tau: 1 if tau <= 2 else 1 / (2 * (tau - 2) + 1)),
    ),
    "FedAsync without weight": Paper(lambda: rules.fedasync(0.3), lambda: papers.FedAsync(0.3, lambda tau: 1)),
    "rescaled by time, harmonic": rescaled("harmonic", K / sum(1 / TIMES)),
    "rescaled by time, arithmetic": rescaled("arithmetic", sum(TIMES) / K),
    "rescaled by time, max": rescaled("max", max(TIMES)),
    "rescaled by duration": Paper(
        lambda: rules.rescaled_sgd_by_duration(0.02, 2.5), lambda: papers.RescaledByDuration(0.02, 2.5)
    ),
    "rescaled by delay": Paper(lambda: rules.rescaled_sgd_by_delay(0.05, K), lambda: papers.RescaledByDelay(0.05, K)),
    "DC-ASGD": Paper(lambda: rules.dc_asgd(0.1, 0.3), lambda: papers.DelayCompensation(0.1, 0.3)),
    "DC-ASGD, adaptive": Paper(
        lambda: rules.dc_asgd_adaptive(0.1, 0.3), lambda: papers.DelayCompensation(0.1, 0.3, adaptive=True)
    ),
    "Gap-Aware": Paper(lambda: rules.gap_aware(0.05), lambda: papers.GapAware(lambda k: 0.05, None)),
    "Gap-Aware with momentum": Paper(
        lambda: rules.gap_aware(0.05, momentum=0.6, decay=0.9), lambda: papers.GapAware(lambda k: 0.05, 0.6, decay=0.9)
    ),
    "Gap-Aware with a falling rate": Paper(lambda: rules.gap_aware(falling), lambda: papers.GapAware(falling, None)),
    "Gap-Aware with a rising rate": Paper(lambda: rules.gap_aware(rising), lambda: papers.GapAware(rising, None)),
    "worker momentum": Paper(
        lambda: rules.worker_momentum(0.03, 0.8, K, dampening=0.2), lambda: papers.WorkerMomentum(0.03, 0.8, K, damp=0.2)
    ),
    "DANA-Zero": Paper(lambda: rules.dana_zero(0.02, 0.8, K), lambda: papers.DanaZero(0.02, 0.8, K)),
    "DANA-Slim": Paper(lambda: rules.dana_slim(0.02, 0.8, K), lambda: papers.DanaSlim(0.02, 0.8, K)),
    "SMEGA2": Paper(lambda: rules.smega2(0.03, 0.8, K), lambda: papers.Smega2(0.03, 0.8, K)),
    "SMEGA2, naive estimate": Paper(
        lambda: rules.smega2(0.03, 0.8, K, advanced=False), lambda: papers.Smega2(0.03, 0.8, K, advanced=False)
    ),
    "delayed Nesterov": Paper(
        lambda: rules.delayed_nesterov(0.1, 0.8, K, spread=0.2), lambda: papers.DelayedNesterov(0.1, 0.8, K, c=0.2)
    ),
    "weight prediction": Paper(lambda: rules.weight_prediction(0.03, 0.8, 3), lambda: papers.WeightPrediction(0.03, 0.8, 3)),
    "pipeline Nesterov": Paper(lambda: rules.pipeline_nesterov(0.1, 0.8), lambda: papers.PipelineNesterov(0.1, 0.8)),
    "OrMo": Paper(lambda: rules.ormo(0.03, 0.8, K), lambda: papers.OrMo(lambda tau: 0.03, 0.8, K)),
    "OrMo behind a barrier": Paper(
        lambda: rules.ormo(0.03, 0.8, K, barrier=True),
        lambda: papers.OrMo(lambda tau: 0.03, 0.8, K, barrier=True),
        behind_a_barrier,
    ),
    "OrMo, vanilla step": Paper(
        lambda: rules.ormo(0.03, 0.8, K, catch_up=False), lambda: papers.OrMo(lambda tau: 0.03, 0.8, K, catch_up=False)
    ),
    "OrMo-DA": Paper(
        lambda: rules.ormo_da(0.05, 0.8, K), lambda: papers.OrMo(lambda tau: 0.05 * min(1, 2 * K / max(tau, 1)), 0.8, K)
    ),
    "OrMo-DA with smoothness": Paper(
        lambda: rules.ormo_da(0.05, 0.8, K, smoothness=1.0),
        lambda: papers.OrMo(lambda tau: 0.05 if tau <= 2 * K else min(0.05, 1 / (4 * 1.0 * tau)), 0.8, K),
    ),
    "DuDe": Paper(lambda: rules.dude(0.05, K), lambda: papers.Dude(0.05, K)),
    "DuDe from zero": Paper(lambda: rules.dude(0.05, K, start="zero"), lambda: papers.Dude(0.05, K, start="zero")),
    "DuDe from a table": Paper(lambda: rules.dude(0.05, K, table=TABLE), lambda: papers.Dude(0.05, K, TABLE)),
    "semi-asynchronous DuDe": Paper(
        lambda: rules.semi_asynchronous_dude(0.1, K, table=TABLE), lambda: papers.Dude(0.1, K, TABLE), three_at_a_time
    ),
    "MIFA": Paper(lambda: rules.mifa(0.1, K), lambda: papers.Dude(0.1, K), rounds_of_different_workers),
    "ACED": Paper(lambda: rules.aced(0.05, K, 5), lambda: papers.Aced(0.05, 5)),
    "ACED from a table": Paper(lambda: rules.aced(0.05, K, 3, table=TABLE), lambda: papers.Aced(0.05, 3, TABLE)),
    "ACED, any age": Paper(lambda: rules.aced(0.05, K, np.inf), lambda: papers.Aced(0.05, np.inf)),
    "SAGA": Paper(lambda: rules.saga(0.05, K), lambda: papers.Saga(0.05, np.zeros((K, DIM)))),
    "SAGA from a table": Paper(lambda: rules.saga(0.05, K, table=TABLE), lambda: papers.Saga(0.05, TABLE)),
    "FedVARP": Paper(lambda: rules.fedvarp(0.1, K), lambda: papers.FedVarp(0.1, K, DIM), rounds_of_different_workers),
    "CA2FL": Paper(lambda: rules.ca2fl(0.1, K), lambda: papers.Ca2fl(0.1, K, DIM), three_at_a_time),
    "EF21": Paper(lambda: rules.ef21(0.1, K, compressors.top_k(1)), lambda: papers.Ef21(0.1, K, DIM, papers.top(1))),
    "EF21, three at a time": Paper(
        lambda: rules.ef21(0.1, K, compressors.top_k(2)),
        lambda: papers.Ef21(0.1, K, DIM, papers.top(2)),
        three_at_a_time,
    ),
    "FedBuff": Paper(
        lambda: rules.fedbuff(0.1, inner=optax.trace(0.5)),
        lambda: papers.FedBuff(0.1, lambda tau: (1 + tau) ** -0.5, 0.5),
        three_at_a_time,
    ),
    "gather, then heavy ball": Paper(
        lambda: optax.chain(rules.gather(), rules.when_applied(HEAVY_BALL)),
        lambda: papers.FedBuff(0.05, lambda tau: 1, 0.8),
        three_at_a_time,
    ),
    "FADAS": Paper(lambda: rules.fadas(0.05), lambda: papers.Fadas(0.05, 1), three_at_a_time),
    "FADAS without adaptation": Paper(
        lambda: rules.fadas(0.05, critical_delay=None), lambda: papers.Fadas(0.05, None), three_at_a_time
    ),
    "Ringleader": Paper(lambda: rules.ringleader(0.1, K), lambda: papers.Ringleader(0.1, K), ringleader_rounds),
}


def columns_of(schedule):
    """What the loop below needs; schedules that end early are filled up with rows that nobody looks at."""
    missing = (0, ROWS - len(schedule))
    return {name: np.pad(getattr(schedule, name), missing, mode="edge") for name in ("worker", "read", "duration", "apply")}


def all_versions(rule, columns):
    """The server's points on a schedule, with all versions kept in memory."""

    def deliver(carry, row):
        points, sent, version, state = carry
        stale, worker = sent[row["read"]], row["worker"]
        offered = {key: row[key] for key in ("worker", "duration", "apply")}
        offered |= {"step": version, "delay": version - row["read"], "stale_params": stale}
        g = jnp.asarray(MATRICES)[worker] @ (stale - jnp.asarray(CENTRES)[worker])
        updates, state = rule.update(g, state, points[version], **offered)
        params, version = optax.apply_updates(points[version], updates), version + row["apply"]
        to_send = jnp.where(row["apply"], rules.sent_params(state, params), sent[version])
        return (points.at[version].set(params), sent.at[version].set(to_send), version, state), None

    start = jnp.asarray(START)
    state = rule.init(start)
    points = jnp.zeros((ROWS + 1, DIM)).at[0].set(start)
    sent = points.at[0].set(rules.sent_params(state, start))
    return jax.lax.scan(deliver, (points, sent, jnp.int32(0), state), columns)[0][0]


@functools.cache
def trajectories():
    """Of all rules, on three schedules each, in double precision; one program takes less time than sixty."""

    @quick.jit
    def program(columns):
        return {name: all_versions(paper.rule(), columns[name]) for name, paper in PAPERS.items()}

    with jax.enable_x64(True):
        return [program({name: columns_of(paper.schedule(seed)) for name, paper in PAPERS.items()}) for seed in SEEDS]


@pytest.mark.parametrize("name", PAPERS)
def test_rules_equal_the_papers_in_plain_numpy(name):
    """Whole trajectories in float64, on random schedules and heterogeneous quadratics."""
    schedules = [PAPERS[name].schedule(seed) for seed in SEEDS]
    assert max(schedule.delay.max() for schedule in schedules) > 2
    for schedule, points in zip(schedules, trajectories(), strict=True):
        expected = papers.event_loop(PAPERS[name].reference(), schedule, gradient, START)
        np.testing.assert_allclose(points[name][: len(expected)], expected, rtol=1e-11, atol=1e-12)
        assert np.abs(expected[-1] - START).max() > 0.05


# The simulator

PROBLEM = jasgd.Problem(
    init=lambda key: jnp.asarray(START, jnp.float32),
    loss=lambda x, worker: jnp.zeros(()),
    sample=lambda key, worker: worker,
    gradient=lambda x, worker: jnp.asarray(MATRICES, jnp.float32)[worker] @ (x - jnp.asarray(CENTRES, jnp.float32)[worker]),
    metrics=lambda x: {"loss": x[0], "grad_norm": x[1], "third": x[2]},
)
KEY = jax.random.key(0)


def recorded_points(run):
    return np.stack([run.history[name] for name in ("loss", "grad_norm", "third")], axis=1)


REPRESENTATIVE = [
    ("DANA-Zero", 1),
    ("DANA-Zero", 4),
    ("Ringleader", 1),
    ("Ringleader", 4),
    ("FedBuff", 4),
    ("CA2FL", 4),
    ("DC-ASGD", 1),
]


@pytest.mark.parametrize(("name", "lanes"), REPRESENTATIVE)
def test_the_simulator_runs_rules_as_the_papers_do(name, lanes):
    """Rules that send other points, see every row, or ask for snapshots: every version is as in NumPy and in the replay.

    What is recorded is the server's own point, also of a rule that sends another.
    """
    schedule, rule = PAPERS[name].schedule(0), PAPERS[name].rule()
    run = jasgd.simulate(PROBLEM, rule, schedule, key=KEY, lanes=lanes, every=1)
    expected = papers.event_loop(PAPERS[name].reference(), schedule, gradient, START)
    np.testing.assert_allclose(recorded_points(run), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run.params, recorded_points(run)[-1])
    jitted = optax.GradientTransformationExtraArgs(rule.init, jax.jit(rule.update))
    replayed = jasgd.reference.replay(PROBLEM, jitted, schedule, key=KEY)
    np.testing.assert_allclose(recorded_points(run), replayed, rtol=1e-5, atol=1e-6)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("name", ["DANA-Zero", "Ringleader"])
def test_chunks_do_not_change_a_rule_with_state_and_sent_points(name):
    """Recording every seventh version cuts the loop otherwise than recording each: the same bits in the end."""
    schedule, rule = PAPERS[name].schedule(0), PAPERS[name].rule()
    often, seldom = (jasgd.simulate(PROBLEM, rule, schedule, key=KEY, lanes=4, every=every) for every in (1, 7))
    np.testing.assert_array_equal(recorded_points(seldom), recorded_points(often)[seldom.history["version"]])
    jax.tree.map(np.testing.assert_array_equal, seldom.rule_state, often.rule_state)
