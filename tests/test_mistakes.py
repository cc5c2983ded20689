"""What a newcomer does wrong: each mistake is one clear sentence with the remedy, before anything is compiled."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest

import jasgd
from jasgd import batch, compressors, decentralized, engine, memory, methods, oracles, problems, protocols, rules
from jasgd.cli import checkout
from jasgd.decentralized import engine as replicas
from jasgd.decentralized import topology
from jasgd.history import History
from jasgd.reproduce import ReproduceCommand, reproduce
from jasgd.sweep_config import read_config
from jasgd.traced import require_workers

KEY, NAN, INF = jax.random.key(0), float("nan"), float("inf")
FLEET = jasgd.fleet.power_law(4, exponent=1.0)
SCHEDULE = protocols.asynchronous(FLEET, 20)
QUADRATIC = problems.quadratic(10, noise=0.1)
SGD = optax.sgd(0.1)
FIVE = np.ones((5, 2), np.float32)


def own(**changes):
    """A problem as users write them, with a mistake."""
    right = {
        "init": lambda key: {"x": jnp.ones(3)},
        "loss": lambda params, batch: jnp.sum((params["x"] - batch) ** 2),
        "sample": lambda key, worker: jax.random.normal(key, (3,)),
        "metrics": lambda params: {"loss": jnp.sum(params["x"] ** 2), "grad_norm": jnp.linalg.norm(params["x"])},
    }
    return jasgd.Problem(**{**right, **changes})


def run(problem=QUADRATIC, rule=SGD, schedule=SCHEDULE, **changes):
    return jasgd.simulate(problem, rule, schedule, **{"key": KEY, **changes})


def sweep(problem=QUADRATIC, rule=optax.sgd, schedule=SCHEDULE, **changes):
    return jasgd.sweep(problem, rule, schedule, **{"key": KEY, "grid": {"learning_rate": [0.1]}, **changes})


def written(path, text):
    path.write_text(text)
    return path


def damaged(path):
    SCHEDULE.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def toml(folder, **changes):
    """A configuration with a mistake."""
    right = {
        "top": "key = 0",
        "problem": '{name = "quadratic", dim = 10}',
        "protocol": '{name = "asynchronous", updates = 10}',
        "rule": '{name = "sgd"}',
        "grid": "{learning_rate = [0.1]}",
    }
    part = {**right, **changes}
    text = (
        f'{part["top"]}\nproblem = {part["problem"]}\nfleet = {{name = "equal", num_workers = 4}}\n[[sweep]]\nlabel = "a"\n'
    )
    return read_config(
        written(folder / "a.toml", text + "".join(f"{k} = {part[k]}\n" for k in ("protocol", "rule", "grid")))
    )


# The name of each mistake, what makes it (given an empty folder), the exception, and words of its sentence.
MISTAKES = {
    # A problem of one's own.
    "init takes no key": (lambda _: own(init=lambda: 1.0), TypeError, "called as init(key), got one of ()"),
    "init is an array": (lambda _: own(init=jnp.ones(3)), TypeError, "`init` must be a function"),
    "sample takes a key only": (lambda _: own(sample=lambda key: key), TypeError, "called as sample(key, worker)"),
    "loss takes no batch": (lambda _: own(loss=lambda params: 0.0), TypeError, "called as loss(params, batch)"),
    "loss is a vector": (
        lambda _: run(own(loss=lambda params, batch: (params["x"] - batch) ** 2)),
        TypeError,
        "`loss` must return one real number, such as jnp.mean(errors), got float32[3]",
    ),
    "loss has a second result": (
        lambda _: run(own(loss=lambda params, batch: (jnp.sum(params["x"]), batch))),
        TypeError,
        "`loss` must return the loss alone, got a tuple",
    ),
    "loss returns nothing": (lambda _: run(own(loss=lambda params, batch: None)), TypeError, "got nothing"),
    "loss and sample disagree": (
        lambda _: run(own(sample=lambda key, worker: jnp.ones(4))),
        TypeError,
        "fails for {x: float32[3]}, float32[4]",
    ),
    "loss branches on numbers": (
        lambda _: run(own(loss=lambda params, batch: jnp.sum(params["x"]) if batch[0] > 0 else 0.0)),
        TypeError,
        "must compile: inside it use",
    ),
    "loss converts to float": (
        lambda _: run(own(loss=lambda params, batch: float(jnp.sum(params["x"])))),
        TypeError,
        "use jax.numpy instead of numpy and float()",
    ),
    "sample looks into a list": (
        lambda _: run(own(sample=lambda key, worker: [jnp.ones(3), jnp.ones(3)][worker])),
        TypeError,
        "`problem.sample(key, worker)` must compile",
    ),
    "sample looks into a NumPy array": (
        lambda _: run(own(sample=lambda key, worker: np.ones((4, 3))[worker])),
        TypeError,
        "jnp.asarray(data)[worker] instead of data[worker]",
    ),
    "batches of different shapes": (
        lambda _: run(own(sample=lambda key, worker: jnp.ones(3) if worker == 0 else jnp.ones(2))),
        TypeError,
        "`problem.sample(key, worker)` must compile",
    ),
    "sample draws from NumPy": (
        lambda _: run(own(sample=lambda key, worker: np.random.randn(3).astype(np.float32))),  # noqa: NPY002
        ValueError,
        "use jax.random and the `key` of the job",
    ),
    "data for fewer workers": (
        lambda _: run(own(sample=lambda key, worker: jnp.ones((2, 3))[worker])),
        ValueError,
        "knows 2 workers, but worker 3 delivers; it needs data for 4 workers",
    ),
    "metrics are no dict": (lambda _: run(own(metrics=lambda p: p["x"][0])), ValueError, "a dict with at least `loss`"),
    "metrics without gradient norm": (
        lambda _: run(own(metrics=lambda p: {"loss": p["x"][0]})),
        ValueError,
        "at least `loss` and `grad_norm`, got a dict with loss",
    ),
    "loss is NaN at the start": (
        lambda _: run(own(metrics=lambda p: {"loss": jnp.log(-jnp.sum(p["x"])), "grad_norm": 0.0})),
        ValueError,
        "NaN at the starting point: look for NaN in the data",
    ),
    "loss of one point of a sweep is NaN at the start": (
        lambda _: sweep(
            lambda scale: own(metrics=lambda p: {"loss": jnp.log(scale * jnp.sum(p["x"])), "grad_norm": 0.0}),
            SGD,
            grid={"scale": [1.0, -1.0]},
            seeds=[3],
        ),
        ValueError,
        "NaN at the starting point of scale=-1.0, seed=3: look for NaN in the data",
    ),
    # Starting points.
    "parameters of another size": (lambda _: run(params=jnp.ones(9)), TypeError, "fails for float32[9]"),
    "parameters of another structure": (lambda _: run(own(), params={"y": jnp.ones(3)}), TypeError, "{y: float32[3]}"),
    "whole numbers as parameters": (
        lambda _: run(params=jnp.arange(10)),
        TypeError,
        "but params is int32; give jnp.float32",
    ),
    "double precision without x64": (
        lambda _: run(params=np.ones(10)),
        TypeError,
        "give float32, or call jax.config.update",
    ),
    "parameters that are NaN": (lambda _: run(params=jnp.full(10, NAN)), ValueError, "must be finite at the start"),
    "no parameters": (lambda _: run(own(init=lambda key: None)), ValueError, "must hold at least one array, got None"),
    # What belongs where.
    "a problem that was not made": (lambda _: run(problems.quadratic), TypeError, "the function quadratic; call it first"),
    "the class of problems": (lambda _: run(jasgd.Problem), TypeError, "such as jasgd.problems.quadratic(10)"),
    "a loss as problem": (lambda _: run(lambda params, batch: 0.0), TypeError, "`problem` must be a jasgd.Problem"),
    "a rule without learning rate": (
        lambda _: run(rule=optax.sgd),
        TypeError,
        "such as optax.sgd(0.1), got the function sgd",
    ),
    "a learning rate as rule": (
        lambda _: run(rule=0.1),
        TypeError,
        "must be an Optax transformation such as optax.sgd(0.1)",
    ),
    "a gradient as rule": (lambda _: run(rule=jax.grad(jnp.sum)), TypeError, "must be an Optax transformation"),
    "a fleet as schedule": (lambda _: run(schedule=FLEET), TypeError, "e.g. jasgd.protocols.asynchronous(fleet, 100)"),
    "a schedule as fleet": (lambda _: protocols.rennala(SCHEDULE, 5, 2), TypeError, "such as jasgd.fleet.fixed([1.0, 2.0])"),
    "times as fleet": (lambda _: protocols.ringmaster([1.0, 2.0], 5, 2), TypeError, "such as jasgd.fleet.fixed([1.0, 2.0])"),
    "a method's fleet": (lambda _: methods.ormo(3, 10, learning_rate=0.1), TypeError, "`fleet` must be a fleet such as"),
    "an oracle by name": (lambda _: run(oracle="gradient"), TypeError, "such as jasgd.oracles.gradient(), got 'gradient'"),
    "an oracle that was not made": (
        lambda _: run(oracle=oracles.gradient),
        TypeError,
        "the function gradient; call it first",
    ),
    "a schedule without a server": (
        lambda _: decentralized.simulate(QUADRATIC, SGD, SCHEDULE, key=KEY),
        TypeError,
        "`execution` must be made by jasgd.decentralized, e.g. by dasgd",
    ),
    "a schedule of a larger fleet": (
        lambda _: run(problems.logistic_regression(3)),
        ValueError,
        "make the problem with as many shards as workers",
    ),
    "a rule for fewer workers": (
        lambda _: run(rule=rules.dude(0.1, num_workers=2)),
        ValueError,
        "knows 2 workers, but worker 3 delivers; make it for 4 workers",
    ),
    "times of fewer workers": (lambda _: run(rule=rules.rescaled_sgd(0.1, [1.0, 2.0])), ValueError, "make it for 4 workers"),
    # Keys.
    "an old key": (
        lambda _: run(key=jax.random.PRNGKey(0)),
        TypeError,
        "made by jax.random.key(seed), got an array uint32[2]",
    ),
    "a seed as key": (lambda _: run(key=0), TypeError, "made by jax.random.key(seed), got 0"),
    "many keys": (lambda _: run(key=jax.random.split(KEY, 3)), TypeError, "give jasgd.sweep one key and `seeds`"),
    "a key as seed": (lambda _: protocols.asynchronous(FLEET, 5, seed=KEY), ValueError, "`seed` must be a whole number"),
    # Learning rates and other numbers of rules.
    "a learning rate in quotes": (lambda _: rules.ormo("0.1", 0.9, 4), ValueError, "such as 0.1, or an Optax schedule"),
    "no learning rate": (lambda _: rules.dude(None, 4), ValueError, "`learning_rate` must be a number that is not negative"),
    "a negative learning rate": (
        lambda _: methods.asynchronous_sgd(FLEET, 10, learning_rate=-0.1),
        ValueError,
        "`learning_rate` must be a number that is not negative, such as 0.1",
    ),
    "neither learning rate nor smoothness": (
        lambda _: methods.ringmaster(FLEET, 10, threshold=2),
        ValueError,
        "give either `learning_rate` or `smoothness`",
    ),
    "Optax with a learning rate in quotes": (lambda _: run(rule=optax.sgd("0.1")), TypeError, "look at the arguments"),
    "full momentum": (lambda _: rules.ormo(0.1, 1.0, 4), ValueError, "`momentum` must be a number in [0, 1), got 1.0"),
    # Fleets and protocols.
    "no time at all": (lambda _: jasgd.fleet.fixed([1.0, 0.0]), ValueError, "one positive number for each worker; worker 1"),
    "a negative time": (lambda _: jasgd.fleet.fixed([1.0, -1.0]), ValueError, "worker 1 has -1.0"),
    "a time that is NaN": (lambda _: jasgd.fleet.fixed([NAN]), ValueError, "worker 0 has nan"),
    "a time in quotes": (
        lambda _: jasgd.fleet.fixed("1.0"),
        ValueError,
        "must be a number, or an array of numbers, got '1.0'",
    ),
    "an exponent in words": (lambda _: jasgd.fleet.power_law(4, "half"), ValueError, "must be a finite number, got 'half'"),
    "a fraction of workers": (lambda _: jasgd.fleet.equal(4.0), ValueError, "`num_workers` must be a positive whole number"),
    "a draw of two arguments": (
        lambda _: jasgd.fleet.drawn(3, lambda rng, worker: 1.0),
        TypeError,
        "called as draw(rng, worker, jobs)",
    ),
    "a worker that does not exist": (lambda _: FLEET.durations(7, 3), ValueError, "this fleet has workers 0 to 3"),
    "outages as a list": (lambda _: FLEET.with_outages([(1.0, 2.0)]), TypeError, "such as {0: [(5.0, 9.0)]}"),
    "negative updates": (lambda _: protocols.asynchronous(FLEET, -1), ValueError, "`updates` must be at least 1, got -1"),
    "updates as a float": (lambda _: protocols.asynchronous(FLEET, 1e3), ValueError, "must be a whole number, got 1000.0"),
    "no threshold": (lambda _: protocols.ringmaster(FLEET, 5, threshold=0), ValueError, "`threshold` must be at least 1"),
    "an empty batch": (lambda _: protocols.rennala(FLEET, 5, batch=0), ValueError, "`batch` must be at least 1"),
    "more than all workers": (lambda _: protocols.m_synchronous(FLEET, 5, m=5), ValueError, "between 1 and the 4 workers"),
    "waiting for a silent worker": (
        lambda _: protocols.minibatch(jasgd.fleet.fixed([1.0, INF]), 5),
        ValueError,
        "worker 1 never answers, so no round of minibatch SGD ever ends; leave it out of the fleet",
    ),
    "silent workers only": (
        lambda _: protocols.asynchronous(jasgd.fleet.fixed([INF, INF]), 5),
        ValueError,
        "ask for fewer, or give workers finite times",
    ),
    "a misspelt assignment": (
        lambda _: protocols.asynchronous(FLEET, 5, assignment="unifrom"),
        ValueError,
        "must be one of ('own', 'random', 'shuffled')",
    ),
    "too few drawn delays": (lambda _: protocols.delays(3, 10, [0, 1]), ValueError, "one number or of shape (10,)"),
    "a negative drawn delay": (
        lambda _: protocols.delays(3, 2, [0, -1]),
        ValueError,
        "`delays` must be whole, not negative",
    ),
    # Records, lanes, places.
    "records of no version": (lambda _: run(every=0), ValueError, "`every` must be a positive whole number, got 0"),
    "times beyond the end": (lambda _: run(times=[1e9]), ValueError, "at most 10, the end of the schedule"),
    "one time": (lambda _: run(times=5.0), ValueError, "`times` must increase from 0"),
    "no lanes": (lambda _: run(lanes=0), ValueError, "`lanes` must be a positive whole number, got 0"),
    "a file as folder": (lambda f: run(resume=written(f / "x", "")), OSError, "must be a folder that can be written"),
    "a folder in a file": (lambda f: sweep(resume=written(f / "x", "") / "y"), OSError, "choose another"),
    "inside jax.jit": (
        lambda _: jax.jit(lambda rate: run(rule=optax.sgd(rate)).params)(0.1),
        TypeError,
        "call it outside jax.jit, jax.grad and jax.vmap; jasgd.sweep maps over settings",
    ),
    "inside jax.grad": (lambda _: jax.grad(lambda x: run(params=x).params[0])(jnp.ones(10)), TypeError, "outside jax.jit"),
    "inside jax.vmap": (
        lambda _: jax.vmap(lambda r: run(rule=optax.sgd(r)).params)(jnp.ones(2)),
        TypeError,
        "jasgd.sweep maps",
    ),
    # Files.
    "no such schedule": (lambda f: jasgd.Schedule.load(f / "x.npz"), FileNotFoundError, "schedule.save(path) writes one"),
    "a damaged schedule": (
        lambda f: jasgd.Schedule.load(damaged(f / "x.npz")),
        ValueError,
        "damaged or another kind of file",
    ),
    "a log of other columns": (
        lambda f: jasgd.fleet.from_trace(written(f / "x.csv", "machine,seconds\n0,1\n")),
        ValueError,
        "must have the columns `worker` and `duration`",
    ),
    "a folder without images": (lambda f: problems.mnist(f), FileNotFoundError, "or name the folder that holds them"),
    # Data.
    "fewer labels than examples": (
        lambda _: problems.logistic_regression(2, data=(FIVE, np.zeros(4, int))),
        ValueError,
        "inputs and labels must be as many",
    ),
    "negative labels": (
        lambda _: problems.logistic_regression(2, data=(FIVE, -np.ones(5, int))),
        ValueError,
        "labels must be whole numbers from 0 on",
    ),
    "labels beyond the classes": (
        lambda _: problems.classification(nn.Dense(3), 4),
        ValueError,
        "as the data have 10 classes; it gives (1, 3)",
    ),
    "examples that are NaN": (
        lambda _: problems.logistic_regression(2, data=(NAN * FIVE, np.zeros(5, int))),
        ValueError,
        "example 0 of the data is not finite; leave it out",
    ),
    "data by name": (lambda _: problems.mlp(2, data="mnist"), ValueError, "such as jasgd.problems.digits(), got 'mnist'"),
    "one hidden layer": (lambda _: problems.mlp(2, hidden=64), ValueError, "such as (64,), got 64"),
    "a model that was not made": (lambda _: problems.classification(nn.Dense, 2), TypeError, "such as flax.linen.Dense(10)"),
    "more workers than examples": (
        lambda _: problems.partition.iid(np.zeros(3), 4),
        ValueError,
        "`num_workers` must lie between 1 and the 3 examples, got 4",
    ),
    # Sweeps and results.
    "a misspelt name": (lambda _: sweep(grid={"learning_rat": [0.1]}), ValueError, "did you mean 'learning_rate'?"),
    "an empty grid": (lambda _: sweep(grid={"learning_rate": []}), ValueError, "to numbers, at least one, got []"),
    "one value in a grid": (lambda _: sweep(grid={"learning_rate": 0.1}), ValueError, "to a list of values, got 0.1"),
    "a grid without learning rate": (
        lambda _: sweep(grid=None),
        ValueError,
        "the function sgd needs `learning_rate`: give it",
    ),
    "a grid for a rule that was made": (lambda _: sweep(rule=SGD), ValueError, "give `rule` as a function of it"),
    "no seeds": (lambda _: sweep(seeds=0), ValueError, "`seeds` must be a positive number of seeds"),
    "a misspelt column": (lambda _: History(loss=FIVE)["los"], KeyError, "did you mean 'loss'?"),
    "the best of one run": (
        lambda _: jasgd.results.best(SCHEDULE, over="lr"),
        TypeError,
        "must be the dataset of jasgd.sweep",
    ),
    # Delays in another loop, messages.
    "a negative delay": (lambda _: jasgd.delayed(SGD, delay=-1), ValueError, "`delay` must be a whole number from 0 on"),
    "neither delay nor schedule": (lambda _: jasgd.delayed(SGD), ValueError, "give either `delay` or `schedule`"),
    "a delay of no optimizer": (lambda _: jasgd.delayed(0.1, delay=3), TypeError, "such as optax.adam(1e-3), got 0.1"),
    "a fleet of delays": (lambda _: jasgd.delayed(SGD, schedule=FLEET), TypeError, "`schedule` must be a jasgd.Schedule"),
    "more coordinates than there are": (
        lambda _: run(oracle=oracles.compressed(oracles.gradient(), compressors.rand_k(11))),
        ValueError,
        "`k` must not exceed the number of coordinates 10, got 11",
    ),
    "a compressor as oracle": (lambda _: run(oracle=compressors.rand_k(2)), TypeError, "such as jasgd.oracles.gradient()"),
    # Without a server.
    "a graph of another size": (
        lambda _: decentralized.ad_psgd(FLEET, topology.ring(5), 9),
        ValueError,
        "must link 4 nodes",
    ),
    "a graph by name": (
        lambda _: decentralized.ad_psgd(FLEET, "ring", 9),
        ValueError,
        "jasgd.decentralized.topology.ring(4)",
    ),
    "two graphs in one": (
        lambda _: decentralized.ad_psgd(FLEET, nx.Graph([(0, 1), (2, 3)]), 9),
        ValueError,
        "`graph` must be connected, but node 2 cannot be reached from node 0; add an edge",
    ),
    "weights that do not average": (
        lambda _: decentralized.local_sgd(FLEET, np.ones((4, 4)), 5),
        ValueError,
        "rows of `weights` must sum to one",
    ),
    "weights that do not keep the mean": (
        lambda _: decentralized.weights.require_doubly_stochastic([[1.0, 0.0], [0.5, 0.5]]),
        ValueError,
        "rows and columns of the weights must sum to one, column 0",
    ),
    # Names.
    "an unknown paper": (
        lambda _: reproduce(ReproduceCommand(paper="foo"), checkout()),
        ValueError,
        "there is no experiment",
    ),
    "the paper of a name": (lambda _: jasgd.citation("ormo"), ValueError, "give a rule, a protocol or a method itself"),
    "an unknown protocol in TOML": (lambda f: toml(f, protocol='{name = "ringmasters"}'), ValueError, "mean 'ringmaster'?"),
    "an unknown rule in TOML": (lambda f: toml(f, rule='{name = "sgdd"}'), ValueError, "did you mean 'sgd'?"),
    "an unknown key in TOML": (lambda f: toml(f, top="keey = 0"), ValueError, "did you mean 'key'?"),
    "an unknown keyword in TOML": (
        lambda f: toml(f, problem='{name = "quadratic", dimm = 10}'),
        ValueError,
        "does not take 'dimm'; did you mean 'dim'?",
    ),
    "a forgotten keyword in TOML": (lambda f: toml(f, protocol='{name = "asynchronous"}'), ValueError, "needs `updates`"),
    "a grid name that nobody takes": (lambda f: toml(f, grid="{rate = [0.1]}"), ValueError, "no function takes 'rate'"),
}


def compiled():
    """How many loops have been compiled."""
    return [loop._cache_size() for loop in (engine.step, batch.step, replicas.run)]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_sentence(name, tmp_path):
    """One line that says what to do, before a loop is compiled; nothing of JAX's own words about tracers."""
    mistake, error, words = MISTAKES[name]
    before = compiled()
    with pytest.raises(error) as raised:
        mistake(tmp_path)
    sentence = raised.value.args[0]
    assert words in sentence
    assert len(sentence.splitlines()) == 1
    assert len(sentence.replace(str(tmp_path), "")) < 300
    assert sentence[-1] in ".?"
    assert not re.search(r"[.?!] +[A-Z]", sentence)
    assert not re.search(r"Tracer|jax/_src|docs\.jax\.dev|Traceback", sentence)
    assert compiled() == before


def test_what_does_not_fit_is_refused_before_it_is_compiled(monkeypatch):
    """The sentence says how much is needed and what makes it less."""
    monkeypatch.setattr(memory, "free_memory", lambda: 100.0)
    before = compiled()
    with pytest.raises(
        MemoryError, match=r"GiB are free: .* use fewer lanes, a smaller concurrency, or parameters of lower"
    ):
        run(lanes=1)
    assert compiled() == before


def test_a_failing_function_of_the_user_stays_the_cause():
    """The line of the user's code is in the traceback above the sentence."""
    with pytest.raises(TypeError, match=r"`problem.metrics\(params\)` fails for {x: float32\[3\]}: KeyError 'y'") as raised:
        run(own(metrics=lambda params: params["y"]))
    assert isinstance(raised.value.__cause__, KeyError)


ROWS = jnp.ones((2, 3))
LOOKUPS = {
    "an index": lambda key, worker: ROWS[worker],
    "take": lambda key, worker: jnp.take(ROWS, worker, axis=0),
    "a row and random columns": lambda key, worker: ROWS[worker, jax.random.randint(key, (3,), 0, 3)],
    "a tree": lambda key, worker: jax.tree.map(lambda x: x[worker], (ROWS, ROWS))[1],
    "a slice": lambda key, worker: jax.lax.dynamic_slice(ROWS, (worker, 0), (1, 3))[0],
    "inside jax.jit": lambda key, worker: jax.jit(lambda i: ROWS[i])(worker),
    "a branch": lambda key, worker: jax.lax.cond(worker > 0, lambda: ROWS[worker], lambda: ROWS[0]),
    "a start of a shard": lambda key, worker: jnp.ones((9, 3))[
        jnp.array([0, 4])[worker] + jax.random.randint(key, (), 0, 4)
    ],
}
SHARED = {
    "a remainder": lambda key, worker: ROWS[worker % 2],
    "a minimum": lambda key, worker: ROWS[jnp.minimum(worker, 1)],
    "random": lambda key, worker: ROWS[jax.random.randint(key, (), 0, 2)],
    "another branch": lambda key, worker: jax.lax.cond(worker > 1, lambda: ROWS[0], lambda: ROWS[worker]),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_data_for_fewer_workers_are_noticed(name):
    """JAX would take the last row for every worker beyond it, without a word."""
    program = engine.traced(own(sample=LOOKUPS[name]), SGD, {"x": jnp.ones(3)}, KEY)
    require_workers(program, 1)
    with pytest.raises(ValueError, match=r"`problem\.sample` knows 2 workers, but worker 3 delivers"):
        require_workers(program, 3)


@pytest.mark.parametrize("name", SHARED)
def test_data_may_be_shared_by_workers(name):
    """What is in range for every worker is taken for meant."""
    require_workers(engine.traced(own(sample=SHARED[name]), SGD, {"x": jnp.ones(3)}, KEY), 3)
