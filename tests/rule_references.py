"""The update rules once more, as the papers write them: NumPy, float64, one gradient at a time, no cleverness.

A reference is called as ``reference(w, g, row) -> w``: the server's point, one gradient, and what is known of it,
``row.worker``, ``.delay``, ``.step``, ``.duration``, ``.stale`` (the point that the worker was sent) and ``.apply``
(whether the server steps now). One whose workers are sent another point than the server's also has ``sent(w)``.
"""
# ruff: noqa: D102 (every class has one method, and says what it does)

from types import SimpleNamespace

import numpy as np


def event_loop(reference, schedule, gradient, start):
    """All versions of the server's point: every gradient is taken at what its worker was sent, and used in order."""
    points = [start]
    sent = [reference.sent(start) if hasattr(reference, "sent") else start]
    for k in range(len(schedule)):
        worker, read, version = int(schedule.worker[k]), int(schedule.read[k]), len(points) - 1
        row = SimpleNamespace(
            worker=worker,
            delay=version - read,
            step=version,
            duration=float(schedule.duration[k]),
            stale=sent[read],
            apply=bool(schedule.apply[k]),
        )
        w = reference(points[-1], gradient(sent[read], worker), row)
        if row.apply:
            points.append(w)
            sent.append(reference.sent(w) if hasattr(reference, "sent") else w)
        else:
            assert w is points[-1], "the server moved although it must not step"
    return np.array(points)


class Weighted:
    """SGD with the step eta times a function of the delay."""

    def __init__(self, eta, weight):
        self.eta, self.weight = eta, weight

    def __call__(self, w, g, row):
        return w - self.eta * self.weight(row.delay) * g


class DecayingStep:
    """SGD with the step eta / (1 + lambda k) after k gradients."""

    def __init__(self, eta, decay):
        self.eta, self.decay = eta, decay

    def __call__(self, w, g, row):
        return w - self.eta / (1 + self.decay * row.step) * g


class DelayedRateMomentum:
    """Heavy ball whose learning rate, not its gradient, is weighted."""

    def __init__(self, eta, beta, weight):
        self.eta, self.beta, self.weight, self.u = eta, beta, weight, 0.0

    def __call__(self, w, g, row):
        self.u = self.beta * self.u + g
        return w - self.eta * self.weight(row.delay) * self.u


class AdaDelay:
    """Step 1 / (L + c sqrt(t + tau)), t counted from 1."""

    def __init__(self, smoothness, scale):
        self.smoothness, self.scale = smoothness, scale

    def __call__(self, w, g, row):
        t = row.step + 1
        return w - g / (self.smoothness + self.scale * np.sqrt(t + row.delay))


class AdaDelayPerCoordinate:
    """The same with c_j = sqrt(mean over s <= t of s / (s + tau_s) g_js^2)."""

    def __init__(self, smoothness):
        self.smoothness, self.terms = smoothness, []

    def __call__(self, w, g, row):
        t = row.step + 1
        self.terms.append(t / (t + row.delay) * g**2)
        c = np.sqrt(np.mean(self.terms, axis=0))
        return w - g / (self.smoothness + c * np.sqrt(t + row.delay))


class Pipemare:
    """Step eta / max(tau, 1)^(1 - min(k / k0, 1))."""

    def __init__(self, eta, anneal_steps):
        self.eta, self.anneal_steps = eta, anneal_steps

    def __call__(self, w, g, row):
        return w - self.eta / max(row.delay, 1) ** (1 - min(row.step / self.anneal_steps, 1)) * g


class Gated:
    """Heavy ball that does not see the gradients which a condition refuses."""

    def __init__(self, eta, beta, accepts):
        self.eta, self.beta, self.accepts, self.u = eta, beta, accepts, 0.0

    def __call__(self, w, g, row):
        if not self.accepts(w, row):
            return w.copy()
        self.u = self.beta * self.u + g
        return w - self.eta * self.u


class FedAsync:
    """x <- (1 - alpha_t) x + alpha_t y, where the worker returns x_stale - y."""

    def __init__(self, alpha, weight):
        self.alpha, self.weight = alpha, weight

    def __call__(self, w, g, row):
        alpha, y = self.alpha * self.weight(row.delay), row.stale - g
        return (1 - alpha) * w + alpha * y


class RescaledByTime:
    """Step eta tau_i / tau_bar."""

    def __init__(self, eta, times, average):
        self.eta, self.times, self.average = eta, times, average

    def __call__(self, w, g, row):
        return w - self.eta * self.times[row.worker] / self.average * g


class RescaledByDuration:
    """Step eta duration / tau_bar."""

    def __init__(self, eta, average):
        self.eta, self.average = eta, average

    def __call__(self, w, g, row):
        return w - self.eta * row.duration / self.average * g


class RescaledByDelay:
    """Step eta (delay + 1) / n."""

    def __init__(self, eta, n):
        self.eta, self.n = eta, n

    def __call__(self, w, g, row):
        return w - self.eta / self.n * (row.delay + 1) * g


class DelayCompensation:
    """g + lambda g * g * (w - w_stale); adaptive: lambda / sqrt(mean square + eps)."""

    def __init__(self, eta, strength, adaptive=False):
        self.eta, self.strength, self.adaptive, self.mean_square = eta, strength, adaptive, 0.0

    def __call__(self, w, g, row):
        strength = self.strength
        if self.adaptive:
            self.mean_square = 0.95 * self.mean_square + 0.05 * g**2
            strength = self.strength / np.sqrt(self.mean_square + 1e-7)
        return w - self.eta * (g + strength * g * g * (w - row.stale))


class GapAware:
    """g / P with P = 1 + gap / (largest rate * typical size of v), then momentum."""

    def __init__(self, rate, beta, decay=0.999):
        self.rate, self.beta, self.decay = rate, beta, decay
        self.v, self.average, self.k, self.largest = None, 0.0, 0, rate(0)

    def __call__(self, w, g, row):
        now = self.rate(self.k)
        if self.v is None:
            self.v = np.zeros_like(g)
        v = g if self.beta is None else self.v
        self.average = self.decay * self.average + (1 - self.decay) * v**2
        self.k += 1
        typical = np.sqrt(self.average / (1 - self.decay**self.k)) + 1e-8
        g = g / (1 + np.abs(w - row.stale) / (self.largest * typical))
        if self.beta is not None:
            self.v = g = self.beta * self.v + g
        self.largest = max(self.largest, now)
        return w - now * g


class WorkerMomentum:
    """v_i <- m v_i + (1 - damp) g; w <- w - eta v_i."""

    def __init__(self, eta, m, n, damp=0.0):
        self.eta, self.m, self.damp, self.v = eta, m, damp, [0.0] * n

    def __call__(self, w, g, row):
        i = row.worker
        self.v[i] = self.m * self.v[i] + (1 - self.damp) * g
        return w - self.eta * self.v[i]


class DanaZero:
    """v_i <- gamma v_i + g; w <- w - eta v_i; sends w - eta gamma sum_j v_j."""

    def __init__(self, eta, gamma, n):
        self.eta, self.gamma, self.v = eta, gamma, [0.0] * n

    def __call__(self, w, g, row):
        i = row.worker
        self.v[i] = self.gamma * self.v[i] + g
        return w - self.eta * self.v[i]

    def sent(self, w):
        """The estimate of the future point."""
        return w - self.eta * self.gamma * sum(self.v)


class DanaSlim:
    """v_i <- gamma v_i + g; w <- w - eta (gamma v_i + g)."""

    def __init__(self, eta, gamma, n):
        self.eta, self.gamma, self.v = eta, gamma, [0.0] * n

    def __call__(self, w, g, row):
        i = row.worker
        self.v[i] = self.gamma * self.v[i] + g
        return w - self.eta * (self.gamma * self.v[i] + g)


class Smega2:
    """One momentum, refreshed every N gradients; sends the point N steps ahead if no gradient came."""

    def __init__(self, eta, gamma, n, advanced=True):
        self.eta, self.gamma, self.n, self.advanced = eta, gamma, n, advanced
        self.m, self.s, self.k = 0.0, 0.0, 0

    def __call__(self, w, g, row):
        self.k = (self.k + 1) % self.n
        self.s = self.s + g
        w = w - self.eta * (g + self.gamma * self.m)
        if self.k == 0:
            self.m, self.s = self.gamma * self.m + self.s / self.n, 0.0
        return w

    def sent(self, w):
        """The advanced estimate, or the naive one."""
        ahead = self.n * self.m
        if self.advanced:
            ahead = (self.n + self.k * (self.gamma - 1)) * self.m + self.k / self.n * self.s
        return w - self.eta * self.gamma * ahead


class DelayedNesterov:
    """Momentum on the mean of every N gradients, g / N in between, a share c of the momentum spread."""

    def __init__(self, eps, beta, n, c=0.0):
        self.eps, self.beta, self.n, self.c, self.m, self.acc = eps, beta, n, c, 0.0, 0.0

    def __call__(self, w, g, row):
        self.acc = self.acc + g
        if (row.step + 1) % self.n == 0:
            self.m, self.acc = self.beta * self.m + self.acc / self.n, 0.0
            return w - self.eps * ((1 - self.c * self.n + self.c) * self.beta * self.m + g / self.n)
        return w - self.eps * (self.c * self.beta * self.m + g / self.n)


class WeightPrediction:
    """Momentum SGD; sends w - eta (gamma + ... + gamma^s) m."""

    def __init__(self, eta, gamma, s):
        self.eta, self.gamma, self.s, self.m = eta, gamma, s, 0.0

    def __call__(self, w, g, row):
        self.m = self.gamma * self.m + g
        return w - self.eta * self.m

    def sent(self, w):
        """Where momentum will have carried the point s steps later."""
        return w - self.eta * sum(self.gamma**j for j in range(1, self.s + 1)) * self.m


class PipelineNesterov:
    """d = gamma (w - w_before); w <- w + d - eta (1 - gamma) g; sends w + d."""

    def __init__(self, eta, gamma):
        self.eta, self.gamma, self.before = eta, gamma, None

    def __call__(self, w, g, row):
        d = self.gamma * (w - self.before) if self.before is not None else 0.0
        self.before = w
        return w + d - self.eta * (1 - self.gamma) * g

    def sent(self, w):
        """The point with its own next displacement."""
        return w if self.before is None else w + self.gamma * (w - self.before)


class OrMo:
    """Ordered momentum with its groups, its waiting set and its two schedulers; ``eta(delay)`` is the step."""

    def __init__(self, eta, beta, k, barrier=False, catch_up=True):
        self.eta, self.beta, self.k, self.barrier, self.catch_up = eta, beta, k, barrier, catch_up
        self.u, self.newest, self.waiting = 0.0, 0, set()

    def __call__(self, w, g, row):
        t, ite, eta = row.step, row.step - row.delay, self.eta(row.delay)
        if not self.waiting and -(-t // self.k) > self.newest:
            w = w - self.beta * self.u
            self.u = self.beta * self.u
            self.newest += 1
        p = self.newest - -(-ite // self.k)
        self.u = self.u + self.beta**p * eta * g
        w = w - (sum(self.beta**j for j in range(p + 1)) if self.catch_up else 1) * eta * g
        self.waiting.add(row.worker)
        if not self.barrier or len(self.waiting) == self.k:
            self.waiting = set()
        return w


class Dude:
    """G_i <- g; w <- w - eta * mean of all G. Waits until every worker has an entry, unless told to start."""

    def __init__(self, eta, n, table=None, start="wait"):
        self.eta, self.n = eta, n
        self.table = {} if table is None else dict(enumerate(table))
        self.start = start

    def __call__(self, w, g, row):
        self.table[row.worker] = g
        if not row.apply:
            return w
        if self.start == "wait" and len(self.table) < self.n:
            return w.copy()
        return w - self.eta * sum(self.table.values()) / self.n


class Aced:
    """The mean of the entries that were computed at most ``max_age`` versions ago; no step if there is none."""

    def __init__(self, eta, max_age, table=None):
        self.eta, self.max_age = eta, max_age
        self.table = {} if table is None else {i: (0, g) for i, g in enumerate(table)}

    def __call__(self, w, g, row):
        self.table[row.worker] = (row.step - row.delay, g)
        active = [g for computed, g in self.table.values() if row.step - computed <= self.max_age]
        return w - self.eta * sum(active) / len(active) if active else w.copy()


class Saga:
    """w <- w - eta (g - G_i + mean of the old G); then G_i <- g."""

    def __init__(self, eta, table):
        self.eta, self.table = eta, np.array(table)

    def __call__(self, w, g, row):
        i = row.worker
        w = w - self.eta * (g - self.table[i] + self.table.mean(axis=0))
        self.table[i] = g
        return w


class FedVarp:
    """v = mean over the round of (D_i - y_i) + mean of all y; then y_i <- D_i in the round."""

    def __init__(self, eta, n, d):
        self.eta, self.y, self.round = eta, np.zeros((n, d)), {}

    def __call__(self, w, g, row):
        self.round[row.worker] = g
        if not row.apply:
            return w
        v = np.mean([g - self.y[i] for i, g in self.round.items()], axis=0) + self.y.mean(axis=0)
        for i, g in self.round.items():
            self.y[i] = g
        self.round = {}
        return w - self.eta * v


class Ca2fl:
    """v = h + mean over the buffer of (D_i - h_i), with the caches before the buffer; then h_i <- the last D_i."""

    def __init__(self, eta, n, d):
        self.eta, self.h, self.buffer = eta, np.zeros((n, d)), []

    def __call__(self, w, g, row):
        self.buffer.append((row.worker, g))
        if not row.apply:
            return w
        v = self.h.mean(axis=0) + np.mean([g - self.h[i] for i, g in self.buffer], axis=0)
        for i, g in self.buffer:
            self.h[i] = g
        self.buffer = []
        return w - self.eta * v


class FedBuff:
    """Server momentum on the mean of a buffer of gradients, each times its weight."""

    def __init__(self, eta, weight, beta=0.0):
        self.eta, self.weight, self.beta, self.buffer, self.u = eta, weight, beta, [], 0.0

    def __call__(self, w, g, row):
        self.buffer.append(self.weight(row.delay) * g)
        if not row.apply:
            return w
        self.u = self.beta * self.u + np.mean(self.buffer, axis=0)
        self.buffer = []
        return w - self.eta * self.u


class Ef21:
    """c_i = C(g - g_i); g_i <- g_i + c_i; w <- w - gamma * mean of all g_i."""

    def __init__(self, gamma, n, d, compress):
        self.gamma, self.table, self.compress = gamma, np.zeros((n, d)), compress

    def __call__(self, w, g, row):
        self.table[row.worker] += self.compress(g - self.table[row.worker])
        return w - self.gamma * self.table.mean(axis=0) if row.apply else w


def top(k):
    """The k coordinates of largest modulus."""

    def compress(x):
        kept = np.argsort(-np.abs(x), kind="stable")[:k]
        message = np.zeros_like(x)
        message[kept] = x[kept]
        return message

    return compress


class Fadas:
    """AMSGrad on the mean of a buffer; the step is divided by its largest delay if that is above the critical one."""

    def __init__(self, eta, critical, b1=0.9, b2=0.99, eps=1e-8):
        self.eta, self.critical, self.b1, self.b2, self.eps = eta, critical, b1, b2, eps
        self.buffer, self.delays, self.m, self.u, self.largest, self.r = [], [], 0.0, 0.0, 0.0, 0

    def __call__(self, w, g, row):
        self.buffer.append(g)
        self.delays.append(row.delay)
        if not row.apply:
            return w
        self.r += 1
        delta, late = np.mean(self.buffer, axis=0), max(self.delays)
        self.m = self.b1 * self.m + (1 - self.b1) * delta
        self.u = self.b2 * self.u + (1 - self.b2) * delta**2
        self.largest = np.maximum(self.largest, self.u)
        eta = self.eta / late if self.critical is not None and late > self.critical else self.eta
        self.buffer, self.delays = [], []
        root = np.sqrt(self.largest) / np.sqrt(1 - self.b2**self.r) + self.eps
        return w - eta / (1 - self.b1**self.r) * self.m / root


class Ringleader:
    """Two tables of sums and counts, and marks: a round in which every worker causes exactly one step."""

    def __init__(self, gamma, n):
        self.gamma, self.n = gamma, n
        self.sums, self.counts = [0.0] * n, [0] * n
        self.next_sums, self.next_counts, self.marked = [0.0] * n, [0] * n, set()

    def __call__(self, w, g, row):
        i = row.worker
        if i in self.marked:
            self.next_sums[i], self.next_counts[i] = self.next_sums[i] + g, self.next_counts[i] + 1
            return w
        self.sums[i], self.counts[i] = self.sums[i] + g, self.counts[i] + 1
        if 0 in self.counts:
            return w
        w = w - self.gamma / self.n * sum(s / b for s, b in zip(self.sums, self.counts, strict=True))
        self.marked.add(i)
        if len(self.marked) == self.n:
            self.sums, self.counts = self.next_sums, self.next_counts
            self.next_sums, self.next_counts, self.marked = [0.0] * self.n, [0] * self.n, set()
        return w
