"""Spectra, targets and rules that the figures share; inputs are normal with diagonal covariances."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optax

import jasgd
from experiments.pictures import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED
from jasgd import rules, theory

DIM = 40
INDEX = np.arange(1.0, DIM + 1)
COLOURS = {
    "optimum": BLACK,
    "lower bound": GREY,
    "ridge": ORANGE,
    "SGD": BLUE,
    "accelerated": RED,
    "preconditioned": GREEN,
    "delay-corrected": PINK,
}


class Instance(NamedTuple):
    """Diagonals of S, T and M, and the standard deviation of the label noise."""

    source: np.ndarray
    target: np.ndarray
    ellipse: np.ndarray
    noise: float


def power(exponent: float) -> np.ndarray:
    """Eigenvalues i^-a."""
    return INDEX**-exponent


def decaying(target: np.ndarray, noise: float = 0.5) -> Instance:
    """Eigenvalues s = i^-2 and m = sqrt(i)."""
    return Instance(power(2.0), target, power(-0.5), noise)


def vital() -> Instance:
    """Equal source eigenvalues; the target and the ellipse single out one direction."""
    return Instance(np.full(DIM, 0.05), np.r_[1.0, np.full(DIM - 1, 0.5)], np.r_[1.0, np.full(DIM - 1, 100.0)], 0.5)


def problem(instance: Instance, samples: int) -> jasgd.Problem:
    """At the truth that is least favourable for so many samples."""
    return jasgd.problems.covariate_shift(*instance, samples=samples)


def stages(samples: int) -> Callable[[int], float]:
    """About log2 n stages of equal length, each with a quarter of the step before; recalled of a related submission."""
    return optax.exponential_decay(1.0, samples // math.floor(math.log2(samples)), 0.25, staircase=True)


def sgd(step: float, samples: int) -> optax.GradientTransformation:
    """Plain SGD whose step falls in stages."""
    return optax.chain(optax.scale_by_schedule(stages(samples)), optax.sgd(step))


def accelerated(step: float, beta: float, ratio: float, samples: int) -> optax.GradientTransformation:
    """Accelerated SGD, gamma = ratio delta, alpha = 1 / (1 + beta); its parameters are the estimate to report."""
    rule = rules.accelerated_sgd(step, ratio * step, 1 / (1 + beta), beta)
    return rules.report(optax.chain(optax.scale_by_schedule(stages(samples)), rule))


def preconditioned(instance: Instance, samples: int, delay: int = 0) -> optax.GradientTransformation:
    """Steps of size 1 behind the preconditioner that is exact in the mean for this number of samples and this delay."""
    best = theory.shift_optimum(*instance, samples)
    matrix = theory.shift_preconditioner(instance.source, best.transform, samples, delay=delay)
    return optax.chain(rules.precondition(matrix), optax.sgd(1.0))
