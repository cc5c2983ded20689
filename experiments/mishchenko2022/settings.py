"""What both figures share: workers, compute-time models, and the data of the notebook."""

import numpy as np

import jasgd

WORKERS = 40


def data(rows: int = 10_000, dim: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A and b of the notebook: its five unused seeds are drawn first and shift the stream."""
    rng = np.random.default_rng(42)
    for _ in range(5):
        rng.choice(424242, size=1, replace=False)
    matrix = rng.uniform(size=(rows, dim)) / np.sqrt(dim)
    solution = rng.normal(size=dim)
    return matrix, matrix @ solution + 1e-5 * rng.normal(size=rows)


def fleet(model: str, workers: int = WORKERS) -> jasgd.fleet.Fleet:
    """Workers with a compute-time model."""
    half = workers // 2
    each = np.ones(workers)
    match model:
        case "equal":
            return jasgd.fleet.equal(workers)
        case "1 + 0.05 |N(0, 1)|":
            return jasgd.fleet.jittered(each, 0.05 * each)
        case "U(0.5, 1.5)":
            return jasgd.fleet.uniform(0.5 * each, 1.5 * each)
        case "sqrt(i)":
            return jasgd.fleet.power_law(workers, exponent=0.5)
        case "half 1, half 4":
            return jasgd.fleet.two_speed(workers, slow=half, slowdown=4.0)
        case "half 1, half 8":
            return jasgd.fleet.two_speed(workers, slow=half, slowdown=8.0)
        case "exp(1)":
            return jasgd.fleet.exponential(each)
        case "i":
            return jasgd.fleet.power_law(workers, exponent=1.0)
        case "lognormal(0, 1)":
            return jasgd.fleet.lognormal(0 * each, each)
        case "Lomax(1.2) + 0.001":
            return jasgd.fleet.pareto(1.2 * each, offset=0.001)
        case "Lomax(1.5) + 0.001":
            return jasgd.fleet.pareto(1.5 * each, offset=0.001)
        case _:
            raise ValueError(f"there is no compute-time model {model!r}.")
