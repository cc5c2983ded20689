"""Executions without a server once more: one event at a time, plain numpy, no slots and no cleverness.

The methods are written as the papers write them and keep models, not numbers of models. They share with the fast code a
fleet's durations, and take random meetings from its tables. At equal times nodes come in their order.
"""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd.decentralized import Execution, engine, simulation
from jasgd.decentralized.plan import plan

KEY = jax.random.key(11)
NODES, JOBS = 8, 400
_RNG = np.random.default_rng(5)
_ROOTS = _RNG.normal(size=(NODES, 3, 3)) / 2
CURVATURE = _ROOTS @ _ROOTS.transpose(0, 2, 1) / 2 + 0.2 * np.eye(3)
TARGET = _RNG.normal(size=(NODES, 3))
START = np.array([0.5, 1.0, -1.0])


def _flat(params):
    return jnp.concatenate([params["b"][None], params["w"]])


def _gradient(params, batch):
    worker, noise = batch
    x = _flat(params)
    g = jnp.asarray(CURVATURE, x.dtype)[worker] @ (x - jnp.asarray(TARGET, x.dtype)[worker]) + 0.2 * jnp.sin(x) + noise
    return {"b": g[0], "w": g[1:]}


# Every node has its own curved function; the noise of a job depends on the job alone.
PROBLEM = jasgd.Problem(
    init=lambda key: {"b": jnp.asarray(START[0]), "w": jnp.asarray(START[1:])},
    loss=lambda params, batch: jnp.sum(_flat(params)),
    sample=lambda key, worker: (worker, 0.3 * jax.random.normal(key, (3,))),
    metrics=lambda params: {"loss": jnp.sum(_flat(params) ** 2), "grad_norm": jnp.max(_flat(params))},
    gradient=_gradient,
)


@functools.lru_cache
def noise(x64):
    """(NODES, JOBS, 3), what the samples of all jobs are."""
    _, jobs_key = jasgd.split_key(KEY)

    def one(worker, job):
        return PROBLEM.sample(jasgd.job_key(jobs_key, worker, job), worker)[1]

    return np.asarray(jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(jnp.arange(NODES), jnp.arange(JOBS)))


def gradient(x, node, job):
    """The gradient of one job of one node."""
    drawn = noise(bool(jax.config.jax_enable_x64))
    kind = drawn.dtype
    return CURVATURE[node].astype(kind) @ (x - TARGET[node].astype(kind)) + kind.type(0.2) * np.sin(x) + drawn[node, job]


@functools.lru_cache
def _update(rule):
    return jax.jit(optax.with_extra_args_support(rule).update)


@dataclasses.dataclass(frozen=True)
class Replay:
    """All vectors and gradients of an execution, and the states of the rule."""

    vectors: list
    gradients: dict
    states: list
    execution: Execution

    def replicas(self, rows=None):
        """(N, d), every node's after so many rows, by default all."""
        newest = list(range(self.execution.num_nodes))
        for k in range(len(self.execution) if rows is None else rows):
            if self.execution.replica[k]:
                newest[self.execution.node[k]] = self.execution.num_nodes + k
        return np.stack([self.vectors[v] for v in newest])


def replay(execution, rule):
    """Row after row, as the table's docstring says; a number as rule is SGD with that step."""
    x = START.astype(noise(bool(jax.config.jax_enable_x64)).dtype)
    n, gradients = execution.num_nodes, {}
    vectors, asked = [x] * n, [0] * n
    states = [None if isinstance(rule, float) else rule.init(x)] * n

    def total(name, k):
        first, value, weight = (getattr(execution, name + end) for end in ("_first", "", "_weight"))
        terms = [(int(value[e]), x.dtype.type(weight[e])) for e in range(first[k], first[k + 1])]
        found = [w * (vectors[v] if v >= 0 else gradients[-1 - v]) for v, w in terms]
        return sum(found, np.zeros_like(x)), bool(terms)

    for k in range(len(execution)):
        node, time, duration = int(execution.node[k]), execution.time[k], execution.time[k] - execution.start[k]
        if execution.job[k] >= 0:
            gradients[k] = gradient(vectors[execution.read[k]], node, execution.job[k])
        new, _ = total("mix", k)
        g, asks = total("push", k)
        if asks and isinstance(rule, float):
            new = new - x.dtype.type(rule) * g
        elif asks:
            told = {"worker": node, "step": asked[node], "time": float(time), "duration": float(duration)}
            change, states[node] = _update(rule)(g, states[node], new, **told)
            new = new + np.asarray(change)
            asked[node] += 1
        vectors.append(new)
    return Replay(vectors, gradients, states, execution)


# One compiled loop for many executions: a pool, and tables, that are larger than they need to be.


def _roomy(execution, lanes, records=()):
    made, room = plan(execution, lanes, records), 96
    assert made.slots <= room
    assert made.asking <= 3 * lanes
    assert made.mixing <= 3 * lanes

    def moved(slots):
        return np.where(slots >= made.slots, slots + room - made.slots, slots).astype(np.int32)

    names = ("read_slot", "store_slot", "write_slot", "mix_slot", "push_slot", "initial_slot", "record_slots")
    widths = {"asking": lanes if made.direct else 3 * lanes, "mixing": 3 * lanes}
    return dataclasses.replace(made, slots=room, **widths, **{name: moved(getattr(made, name)) for name in names})


@contextlib.contextmanager
def one_size():
    """All small executions have the same shapes."""
    chunk_of = engine.chunk_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "plan", _roomy)
        patch.setattr(engine, "chunk_of", lambda plan, begin, end, steps: chunk_of(plan, begin, end, 128))
        yield


def flat_replicas(run):
    """Every node's parameters in one row, (N, d)."""
    return np.column_stack([run.params["b"], run.params["w"]])


# The methods.


class Nodes:
    """The nodes' clocks, and what each is computing: (finish, start, job, model that it began with)."""

    def __init__(self, fleet, seed, step):
        self.n, self.step = fleet.num_workers, step
        self.durations = [fleet.durations(i, JOBS, seed=seed).tolist() for i in range(self.n)]
        self.x = [START.copy() for _ in range(self.n)]
        self.started = [0] * self.n
        self.busy = [None] * self.n
        self.events = []  # (node, time, job, start), -1 for a job: no gradient

    def begin(self, i, now):
        """Node i starts its next gradient, at its model of now."""
        job = self.started[i]
        self.started[i] += 1
        self.busy[i] = (now + self.durations[i][job], now, job, self.x[i].copy())

    def next_finish(self):
        """When the next gradient is finished."""
        return min((job[0] for job in self.busy if job), default=np.inf)

    def finished_at(self, now):
        """Whose gradient is finished at this time."""
        return [i for i in range(self.n) if self.busy[i] and self.busy[i][0] == now]

    def finish(self, i):
        """The gradient, at the model that the node began with; the node is idle."""
        now, start, job, model = self.busy[i]
        self.busy[i] = None
        self.events.append((i, now, job, start))
        return gradient(model, i, job)


class Mail:
    """What is under way."""

    def __init__(self, latencies, nodes):
        self.latencies = np.broadcast_to(latencies, (nodes.n, nodes.n))
        self.events = nodes.events
        self.letters = []  # (arrival, number, from, to, sent, content)
        self.sent = 0
        self.arrived = []  # (events before, to, seconds)

    def send(self, sender, to, now, content):
        """Put a letter on its way, if it will ever arrive."""
        seconds = float(self.latencies[sender, to])
        if seconds < np.inf:
            self.letters.append((now + seconds, self.sent, sender, to, seconds, content))
            self.sent += 1

    def next_arrival(self):
        """When the next letter arrives."""
        return min((letter[0] for letter in self.letters), default=np.inf)

    def deliver(self, now):
        """What has arrived by now, in the order of arrival, then of sending."""
        come = sorted((letter for letter in self.letters if letter[0] <= now), key=lambda letter: letter[:2])
        self.letters = [letter for letter in self.letters if letter[0] > now]
        for _, _, sender, to, seconds, content in come:
            self.arrived.append((len(self.events), to, seconds))
            yield sender, to, content


def dasgd(fleet, gradients, *, latencies=0.0, broadcast_every=1, drain=False, seed=0, step):
    """Every node applies every gradient; at one time all finish, then messages arrive, then nodes start."""
    nodes = Nodes(fleet, seed, step)
    n = nodes.n
    mail, inbox = Mail(latencies, nodes), [[] for _ in range(n)]
    pending, names = [np.zeros(3)] * n, [[] for _ in range(n)]
    nodes.applied = [[] for _ in range(n)]  # (node, job), in order
    nodes.reads = {}  # (node, job) -> (start, what was applied)

    def apply(i, now):
        for total, which in inbox[i]:
            nodes.x[i] = nodes.x[i] - step * total
            nodes.applied[i] += which
            nodes.events.append((i, now, -1, now))
        inbox[i] = []

    def start_the_idle(now):
        for i in range(n):
            if nodes.busy[i] is None and sum(nodes.started) < gradients:
                apply(i, now)
                nodes.reads[i, nodes.started[i]] = (now, set(nodes.applied[i]))
                nodes.begin(i, now)

    start_the_idle(0.0)
    while (now := min(nodes.next_finish(), mail.next_arrival())) < np.inf:
        for i in nodes.finished_at(now):
            own = (i, nodes.busy[i][2])
            g = nodes.finish(i)
            nodes.x[i] = nodes.x[i] - step * g
            nodes.applied[i].append(own)
            pending[i], names[i] = pending[i] + g, [*names[i], own]
            if len(names[i]) == broadcast_every:
                for other in range(n):
                    if other != i:
                        mail.send(i, other, now, (pending[i], names[i]))
                pending[i], names[i] = np.zeros(3), []
        for _, to, message in mail.deliver(now):
            inbox[to].append(message)
        start_the_idle(now)
        last = now
    if drain:
        for i in range(n):
            apply(i, last)
    nodes.mail = mail
    return nodes


def ad_psgd(fleet, gradients, partner_of, *, seed=0, step):
    """A node that has finished averages with a neighbour, takes its step, reads its model and goes on."""
    nodes = Nodes(fleet, seed, step)
    nodes.means = [START.copy()]
    nodes.used = []
    for i in range(nodes.n):
        nodes.begin(i, 0.0)
    for k in range(gradients):
        now = nodes.next_finish()
        i = nodes.finished_at(now)[0]
        j = partner_of(k)
        g = nodes.finish(i)
        if j is not None:
            nodes.x[i] = nodes.x[j] = (nodes.x[i] + nodes.x[j]) / 2
            nodes.events.append((j, now, -1, now))
        nodes.x[i] = nodes.x[i] - step * g
        nodes.begin(i, now)
        nodes.used.append(g)
        nodes.means.append(np.mean(nodes.x, axis=0))
    return nodes


def agraf(fleet, gossip, gradients, *, seed=0, step):
    """At one time all finish and step, then come averages, X <- W X, then nodes start. ``gossip``: list of (time, W)."""
    nodes, gossip = Nodes(fleet, seed, step), list(gossip)
    n, left = nodes.n, gradients
    nodes.means = []  # of the replicas, before and after every average
    for i in range(n):
        nodes.begin(i, 0.0)
    while left:
        now = min([nodes.next_finish(), *[time for time, _ in gossip]])
        together = nodes.finished_at(now)[:left]
        for i in together:
            nodes.x[i] = nodes.x[i] - step * nodes.finish(i)
        left -= len(together)
        for w in [w for time, w in gossip if time == now]:
            before = list(nodes.x)
            nodes.x = [sum(w[i, j] * before[j] for j in range(n) if w[i, j]) for i in range(n)]
            nodes.means.append((np.mean(before, axis=0), np.mean(nodes.x, axis=0)))
            nodes.events += [(i, now, -1, now) for i in range(n) if w[i, i] != 1]
        gossip = [(time, w) for time, w in gossip if time > now]
        for i in together:
            nodes.begin(i, now)
    return nodes


def swift(fleet, weights, gradients, *, latencies=0.0, average_every=1, only_new=False, seed=0, step):
    """At one time: all that finish send their models, messages arrive, then they average and step one after another."""
    nodes = Nodes(fleet, seed, step)
    n, w = nodes.n, np.asarray(weights)
    mail = nodes.mail = Mail(latencies, nodes)
    latest = [[START.copy() for _ in range(n)] for _ in range(n)]
    new = [[False] * n for _ in range(n)]
    steps = [0] * n
    for i in range(n):
        nodes.begin(i, 0.0)
    while sum(steps) < gradients:
        now = nodes.next_finish()
        together = nodes.finished_at(now)
        for i in together:
            for j in range(n):
                if j != i and w[j, i] > 0:  # node j wants the model of i
                    mail.send(i, j, now, nodes.x[i].copy())
        for sender, to, model in mail.deliver(now):
            latest[to][sender], new[to][sender] = model, True
        for i in together:
            if sum(steps) == gradients:
                break
            g = nodes.finish(i)
            steps[i] += 1
            x = nodes.x[i]
            if steps[i] % average_every == 0:
                from_whom = [j for j in range(n) if j != i and w[i, j] > 0 and (new[i][j] or not only_new)]
                x = (1 - sum(w[i, j] for j in from_whom)) * x + sum(w[i, j] * latest[i][j] for j in from_whom)
                new[i] = [False] * n
            nodes.x[i] = x - step * g
            nodes.begin(i, now)
    return nodes


def adsgd(fleet, weights, gradients, *, latencies=0.0, seed=0, step):
    """A node averages the newest that it has, steps, and sends the result; what finishes together, computes together."""
    nodes = Nodes(fleet, seed, step)
    n, w = nodes.n, np.asarray(weights)
    mail = nodes.mail = Mail(latencies, nodes)
    latest = [[START.copy() for _ in range(n)] for _ in range(n)]
    for i in range(n):
        nodes.begin(i, 0.0)
    done = 0
    while done < gradients:
        now = nodes.next_finish()
        for sender, to, model in mail.deliver(now):
            latest[to][sender] = model
        for i in nodes.finished_at(now)[: gradients - done]:
            g = nodes.finish(i)
            latest[i][i] = nodes.x[i]
            nodes.x[i] = sum(w[i, j] * latest[i][j] for j in range(n)) - step * g
            for j in range(n):
                if j != i and w[j, i] > 0:
                    mail.send(i, j, now, nodes.x[i].copy())
            nodes.begin(i, now)
            done += 1
    return nodes


def in_rounds(n, rounds, weights, *, local_steps=1, delays=0, mix_first, step):
    """Rounds of matrices: W (X - gamma G) after local steps, or sum_j w_ij x_j^(t - d_ij) - gamma g_i. All (n, d) points."""
    late = np.where(np.eye(n, dtype=bool), 0, delays)
    history = [np.stack([START] * n)]
    for t in range(rounds):
        x = history[-1].copy()
        w = weights(t)
        if mix_first:
            moves = np.stack([step * gradient(x[i], i, t) for i in range(n)])
            mixed = [sum(w[i, j] * history[max(t - late[i, j], 0)][j] for j in range(n)) for i in range(n)]
            history.append(np.stack(mixed) - moves)
            continue
        for h in range(local_steps):
            x = np.stack([x[i] - step * gradient(x[i], i, t * local_steps + h) for i in range(n)])
        history.append(w @ x)
    return history
