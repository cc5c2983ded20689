"""What a gradient takes at least, counted and computed; and large models, which compute what the reference computes."""

import itertools

import jax
import numpy as np
import pytest

import jasgd
from experiments.benchmarks import bounds, engine, launches
from experiments.benchmarks.cases import Case, Digits, Quadratic
from experiments.benchmarks.device import Device, started_per_turn, use
from experiments.benchmarks.idle import idle_share
from experiments.benchmarks.measure import relative_difference
from experiments.benchmarks.models import ResNet20, Transformer, _Decoder
from jasgd.problems.networks import _ResNet

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(3)
QUADRATIC = Case(name="quadratic", model=Quadratic(dim=12, noise=0.0), workers=6, deliveries=48, speeds="equal")
LOGISTIC = Case(name="logistic", model=Digits(batch=4), workers=6, deliveries=48, speeds="equal")
DEVICE = Device(bytes_per_second=1e9, operations_per_second=1e9, launch_seconds=1e-6)

# Two blocks of steps; a step starts a product, a fusion, three reductions in a loop, a branch, and a loop over deliveries.
TEXT = """HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%fused (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %inside = f32[8]{0} add(%p, %p)
  ROOT %also = f32[8]{0} multiply(%inside, %p)
}

%few (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  ROOT %one = f32[8]{0} fusion(%a), kind=kLoop, calls=%fused
}

%more (a.1: f32[8]) -> f32[8] {
  %a.1 = f32[8]{0} parameter(0)
  %two = f32[8]{0} copy(%a.1)
  ROOT %three = f32[8]{0} fusion(%two), kind=kLoop, calls=%fused
}

%until (c: (s32[], f32[8])) -> pred[] {
  %c = (s32[], f32[8]{0}) parameter(0)
  ROOT %less = pred[] fusion(%c), kind=kLoop, calls=%fused
}

%known (k: (s32[], f32[8])) -> (s32[], f32[8]) {
  %k = (s32[], f32[8]{0}) parameter(0)
  %sum = f32[] reduce(%k), to_apply=%fused, metadata={op_name="while( in a name"}
  ROOT %k.2 = (s32[], f32[8]{0}) tuple(%sum, %k)
}

%delivery (d: (s32[], f32[8])) -> (s32[], f32[8]) {
  %d = (s32[], f32[8]{0}) parameter(0)
  %called = f32[8]{0} call(%d), to_apply=%more
  ROOT %d.2 = (s32[], f32[8]{0}) tuple(%called, %d)
}

%step (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[], f32[8]{0}, /*index=2*/f32[8]{0:T(128)}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%s), index=1
  %dot = f32[8]{0} dot(%x, %x), lhs_contracting_dims={0}, rhs_contracting_dims={0}
  %again = f32[8]{0} fusion(%dot), kind=kLoop, calls=%fused
  %three_times = (s32[], f32[8]{0}) while(%s), condition=%until, body=%known, backend_config={"known_trip_count":{"n":"3"}}
  %branch = f32[8]{0} conditional(%x, %x, %x), branch_computations={%few, %more}
  %deliveries = (s32[], /*index=1*/f32[8]{0}) while(%s), condition=%until, body=%delivery
  ROOT %s.2 = (s32[], f32[8]{0}) tuple(%x, %again)
}

%block (b: (s32[], f32[8])) -> (s32[], f32[8]) {
  %b = (s32[], f32[8]{0}) parameter(0)
  %drawing = ((f32[8]{0}), f32[8]{0}) async-start(%b), calls=%fused
  %drawn = f32[8]{0} async-done(%drawing)
  ROOT %steps = (s32[], f32[8]{0}) while(%b), condition=%until, body=%step
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0} parameter(0)
  %once = f32[8]{0} copy(%x.1)
  %blocks = (s32[], f32[8]{0}) while(%once), condition=%until, body=%block
  ROOT %end = f32[8]{0} get-tuple-element(%blocks), index=1
}
"""


def test_operations_of_a_program_are_counted():
    """By hand: a product and a fusion; three reductions in turn; the wider branch; five deliveries; the loop's condition."""
    of_step = 2 + 3 * (1 + 1) + 2 + 5 * (2 + 1) + 1
    assert launches.per_step(TEXT, block=4, deliveries=5) == of_step + 1 / 4
    without_signs = TEXT.replace("%", "")  # as other releases print it
    assert launches.per_step(without_signs, block=4, deliveries=5) == of_step + 1 / 4


def test_a_chain_of_operations_is_counted_in_a_compiled_program():
    """What the cost of an operation is measured with: 16 products, none of which is part of another, and the loop itself."""
    assert started_per_turn() > 16


def prepared(case, lanes):
    problem = case.problem()
    return engine.prepare(problem, case.optimizer(), case.schedule(), lanes=lanes, params=problem.init(KEY), key=KEY)


def test_on_an_accelerator_the_engine_column_is_what_simulate_runs_there(monkeypatch):
    """Over vectors, at once, to the same point; then operations are shared by the gradients of a step."""
    host = prepared(LOGISTIC, 6)
    monkeypatch.setattr("experiments.benchmarks.engine.launches_cost", lambda: True)
    few, many = prepared(LOGISTIC, 2), prepared(LOGISTIC, 6)
    assert host.loop.linear is None
    assert many.loop.linear is not None
    assert relative_difference(many.run(), host.run()) < 1e-5
    assert bounds.launches_per_step(many) / 6 < bounds.launches_per_step(few) / 2


def test_bytes_and_the_limit_of_a_gradient():
    """Twelve numbers: a snapshot and the point are read, a version and the point written, a gradient both; no sample."""
    one = prepared(QUADRATIC, 1)
    kept = np.mean(one.plan.write_slot < one.plan.slots)
    assert bounds.bytes_per_gradient(one) == pytest.approx(12 * 4 * (1 + kept + 2 + 2) + 2 * one.program.batch_bytes)
    found = bounds.Bounds.of(one, DEVICE)
    assert found.seconds["bytes"] == pytest.approx(found.bytes * 1e-9)
    assert found.seconds["arithmetic"] == pytest.approx(found.operations * 1e-9)
    assert found.seconds["launches"] == pytest.approx(found.launches * 1e-6)
    assert found.limit == "launches"


def test_the_device_is_measured():
    """Three positive numbers."""
    found = Device.measured(quick=True)
    assert min(found.bytes_per_second, found.operations_per_second, found.launch_seconds) > 0


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is a device here")
def test_a_device_that_is_not_there_is_refused():
    """Nothing is measured elsewhere in its place."""
    use("cpu")
    with pytest.raises(ValueError, match="there is no gpu here, JAX computes on the cpu"):
        use("gpu")


def test_a_platform_that_jax_cannot_start_is_refused(monkeypatch):
    """With JAX_PLATFORMS=cuda and no such device, JAX fails at an assertion."""

    def fails():
        raise AssertionError

    monkeypatch.setattr(jax, "default_backend", fails)
    with pytest.raises(ValueError, match="there is no gpu here, JAX finds nothing"):
        use("gpu")


@pytest.mark.parametrize("accelerated", [False, True])
def test_the_idle_share_is_a_share(accelerated, monkeypatch):
    """Of a loop that fetches what it records, and of one that has everything at hand; over trees, and over vectors."""
    monkeypatch.setattr("experiments.benchmarks.engine.launches_cost", lambda: accelerated)
    problem = QUADRATIC.problem()
    start = {"params": problem.init(KEY), "key": KEY}
    found = idle_share(problem, QUADRATIC.optimizer(), QUADRATIC.schedule(), lanes=2, repeats=1, **start)
    assert found.median < 1


def end_and_reference(model, deliveries, lanes):
    """The last point of the engine and of the slow event loop, of 64 workers."""
    case = Case(name="model", model=model, workers=64, deliveries=deliveries, speeds="equal", learning_rate=0.05)
    problem, schedule = case.problem(), case.schedule()
    params = jax.jit(problem.init)(KEY)
    key = jasgd.split_key(KEY)[1]
    end = engine.prepare(problem, case.optimizer(), schedule, lanes=lanes, params=params, key=key).run()
    points = jasgd.reference.replay(problem, case.optimizer(), schedule, key=KEY, params=params)
    assert relative_difference(params, points[-1]) > 1e-3
    return end, points[-1]


def test_the_transformer_ends_where_the_reference_ends():
    """With 64 workers, and so few characters that one sees what it sees."""
    end, reference = end_and_reference(Transformer(width=8, layers=1, heads=2, length=6, batch=2), 8, lanes=4)
    assert relative_difference(end, reference) < 1e-5


def test_the_transformer_is_causal():
    """A later character changes no earlier prediction."""
    model = _Decoder(5, width=8, layers=1, heads=2, length=4)
    characters = np.array([[0, 1, 2, 3], [0, 1, 4, 3]], np.int32)
    logits, _ = jax.jit(model.init_with_output)(KEY, characters)
    np.testing.assert_array_equal(logits[0, :2], logits[1, :2])
    assert np.all(logits[0, 2:] != logits[1, 2:])


@pytest.mark.parametrize("blocks", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_residual_network_ends_where_the_reference_ends(blocks, monkeypatch):
    """With 64 workers and images of 4 x 4 pixels; by default the ResNet of 8 layers, which compiles sooner."""
    monkeypatch.setattr("jasgd.problems.resnet20", lambda: _ResNet(10, blocks))
    end, reference = end_and_reference(ResNet20(side=4, batch=2, examples=128), 4, lanes=2)
    assert relative_difference(end, reference) < 1e-4


def test_resnet_20_has_as_many_parameters_as_the_paper_says():
    """He et al. 2016: 19 convolutions of 3 x 3 to 16, 32 and 64 channels, each with scale and shift, and a dense layer."""
    channels = [3, *[16] * 7, *[32] * 6, *[64] * 6]
    convolutions = sum(9 * a * b for a, b in itertools.pairwise(channels))
    expected = convolutions + 2 * sum(channels[1:]) + 64 * 10 + 10
    params = jax.eval_shape(jasgd.problems.resnet20().init, KEY, jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    assert round(expected / 1e6, 2) == 0.27
