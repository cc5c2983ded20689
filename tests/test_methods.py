"""Methods: the paper's name gives protocol and rule, with the paper's step size when its constants are given."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import methods, theory
from jasgd.methods import Method
from jasgd.methods.tables import _largest_age

pytestmark = pytest.mark.compiled_quickly
FLEET = jasgd.fleet.fixed([1.0, 2.6, 4.1])
GRAPH = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.mesh(1, 3), 0.3)
ARGUMENTS = {
    "clipped_sgd": {"max_norm": 1.0},
    "picky_sgd": {"radius": 1.0},
    "dc_asgd": {"strength": 0.01},
    "m_synchronous_sgd": {"m": 2},
    "rennala": {"batch": 4},
    "ringmaster": {"threshold": 2},
    "naive_optimal": {"workers": 2},
    "fedbuff": {"buffer": 2},
    "fadas": {"buffer": 2, "concurrency": 2},
    "ca2fl": {"buffer": 2},
    "mindflayer": {"trials": 2, "allotted": np.inf},
    "ata": {"batch": 4},
    "compressed_minibatch_sgd": {"compressor": jasgd.compressors.rand_k(2)},
    "ef21": {"compressor": jasgd.compressors.top_k(2)},
    "fragile": {"graph": GRAPH, "batch": 4},
    "amelie": {"graph": GRAPH, "batch": 4},
    "shadowheart": {"compressor": jasgd.compressors.rand_k(2), "dim": 5, "noise_ratio": 1.0},
}
# Their links take time.
LINKED = {"compressed_minibatch_sgd", "ef21", "shadowheart", "dropping_sgd", "fastest_worker_sgd"}
EXACT, NOISY = jasgd.problems.quadratic(5), jasgd.problems.quadratic(5, noise=0.1)
METHODS = [name for name in methods.__all__ if inspect.isfunction(getattr(methods, name))]


def fleet_for(name):
    """The fleet, with links where a method is about them."""
    return FLEET.with_links(upload=[0.5, 0.1, 0.3]) if name in LINKED else FLEET


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_and_knows_its_paper(name):
    """On a small quadratic the loss falls; the reference is BibTeX."""
    method = getattr(methods, name)(fleet_for(name), 200, learning_rate=0.01, **ARGUMENTS.get(name, {}))
    assert isinstance(method, Method)
    assert method.reference.startswith("@") or name in ("minibatch_sgd", "compressed_minibatch_sgd", "fastest_worker_sgd")
    run = method.simulate(EXACT, key=jax.random.key(0))
    assert not run.diverged
    assert run.history["loss"][-1] < run.history["loss"][0]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_equals_the_slow_replay(name):
    """The compiled loop and the event by event one end at the same point."""
    method = getattr(methods, name)(fleet_for(name), 30, learning_rate=0.01, **ARGUMENTS.get(name, {}))
    run = method.simulate(NOISY, key=jax.random.key(1))
    seen = NOISY if method.oracle is None else method.oracle.of(NOISY)
    points = jasgd.reference.replay(seen, method.rule, method.schedule, key=jax.random.key(1))
    np.testing.assert_allclose(run.params, points[-1], rtol=2e-5, atol=1e-6)


def test_step_sizes_follow_from_constants():
    """Asynchronous SGD and its delay-adaptive form take the theorem's step; both or neither argument is refused."""
    method = methods.asynchronous_sgd(FLEET, 50, smoothness=2.0)
    expected = theory.asynchronous_step_size(2.0, 3, int(method.schedule.delay.max()))
    updates, _ = method.rule.update(jnp.ones(1), method.rule.init(jnp.ones(1)))
    np.testing.assert_allclose(updates, -expected, rtol=1e-6)
    with pytest.raises(ValueError, match="give either `learning_rate` or `smoothness`"):
        methods.asynchronous_sgd(FLEET, 50)
    with pytest.raises(ValueError, match="give either `learning_rate` or `smoothness`"):
        methods.delay_adaptive_sgd(FLEET, 50, learning_rate=0.1, smoothness=1.0)


def test_r2_with_the_theorems_step_is_r3():
    """N / max(n, delay) of 1 / (4 L n) is min(1 / (4 L n), 1 / (4 L delay))."""
    method = methods.delay_adaptive_sgd(FLEET, 50, smoothness=2.0)
    for delay in (0, 2, 3, 4, 100):
        updates, _ = method.rule.update(jnp.ones(1), method.rule.init(jnp.ones(1)), delay=delay)
        np.testing.assert_allclose(updates, -min(1 / 24, 1 / (8 * max(delay, 1))), rtol=1e-6)


def test_dude_starts_with_a_common_round():
    """All n workers read version 0, wait, and start again at version n; in the first round only the last arrival steps."""
    method = methods.dude(FLEET, 40, learning_rate=0.1)
    schedule = method.schedule
    assert schedule.read[:3].tolist() == [0, 0, 0]
    assert sorted(schedule.worker[:3].tolist()) == [0, 1, 2]
    assert (schedule.read[3:6] >= 3).all()
    assert schedule.start[3:].min() == 4.1
    run = method.simulate(EXACT, key=jax.random.key(0), every=1)
    loss = run.history["loss"]
    assert loss[0] == loss[1] == loss[2]
    assert loss[3] < loss[0]


def test_largest_age_is_that_of_the_dual_delays():
    """Equal to the recursion: 1 + delay at an arrival, one more at every other step."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.exponential([1.0, 3.0, 0.5]), 200, seed=3)
    age, largest = np.ones(3, int), 1
    for worker, delay in zip(schedule.worker, schedule.delay, strict=True):
        age += 1
        age[worker] = delay + 1
        largest = max(largest, age.max())
    first = [np.flatnonzero(schedule.worker == i)[0] for i in range(3)]
    assert max(first) < 100  # nobody's first arrival decides
    assert _largest_age(schedule) == largest


@pytest.mark.parametrize("source", ["times", "duration", "delay"])
def test_rescaled_methods_have_unit_average_weight(source):
    """In its three forms the average step over a long run is the learning rate."""
    method = methods.rescaled_sgd(FLEET, 4000, learning_rate=1.0, source=source)
    schedule = method.schedule
    state = method.rule.init(jnp.ones(1))
    weights = [
        -float(
            method.rule.update(
                jnp.ones(1),
                state,
                worker=schedule.worker[k],
                delay=schedule.delay[k],
                duration=schedule.duration[k],
            )[0][0]
        )
        for k in range(3000, 3400)
    ]
    assert abs(np.mean(weights) - 1) < 0.02


def test_rescaling_by_times_needs_fixed_times():
    """A fleet that draws its durations has no times to scale by."""
    with pytest.raises(ValueError, match="draws its durations"):
        methods.rescaled_sgd(jasgd.fleet.exponential([1.0, 2.0]), 10, learning_rate=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.stability_limit(0.0, 1), "`smoothness` must be positive"),
        (lambda: theory.delay_adaptive_step_size(1.0, 4, noise=1.0), "also depends on `gap` and `updates`"),
        (lambda: theory.dude_step_size(1.0, 4, 1.0, 8, 100), "needs at least"),
        (lambda: theory.rescaled_step_size([1.0, 0.0], 1.0, 0.1), "`times` must be positive"),
    ],
)
def test_theory_refuses_what_has_no_answer(call, message):
    """One clear sentence."""
    with pytest.raises(ValueError, match=message):
        call()


def test_citation_refuses_what_has_no_paper():
    """optax.sgd is nobody's method here."""
    with pytest.raises(ValueError, match="belongs to no paper"):
        jasgd.citation(optax.sgd)
