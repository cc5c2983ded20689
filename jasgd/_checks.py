"""Checks of what users give: one sentence says what was expected, what came, and so what to do.

Where a rule is made tracers pass as numbers: under ``vmap`` and ``inject_hyperparams`` they have no value.
"""

import contextlib
import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

# What JAX raises where a program looks at a number that is not known before it runs.
_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def said(value: Any) -> str:
    """A value in a sentence: itself if it is short, else what it is."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {value.__name__}"
    if (
        hasattr(value, "dtype")
        and hasattr(value, "shape")
        and (value.shape or not isinstance(value, np.generic | np.ndarray))
    ):
        return f"an array {value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text and text[0] != "<" else f"an object of type {type(value).__name__}"


def require_type(name: str, value: Any, expected: Any, such_as: str) -> None:
    """An object of a class; a function that makes such objects is not one."""
    if not isinstance(value, expected):
        maker = isinstance(value, type) or (inspect.isroutine(value) and value.__name__ != "<lambda>")
        called = "; call it first" if maker else ""
        raise TypeError(f"`{name}` must be {such_as}, got {said(value)}{called}.")


def require_function(name: str, value: Any, *arguments: str) -> None:
    """A function that can be called with so many arguments."""
    call = f"{name}({', '.join(arguments)})"
    if not callable(value):
        raise TypeError(f"`{name}` must be a function that is called as {call}, got {said(value)}.")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # written in C: it does not say
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(f"`{name}` must be a function that is called as {call}, got one of {signature}.") from None


def or_rather(name: Any, known: Iterable[Any]) -> str:
    """The end of a sentence about an unknown name: the nearest one that is known, or all if they are few."""
    known = list(map(str, known))
    if near := difflib.get_close_matches(str(name), known, n=1):
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(known)}." if len(known) <= 12 else "see its documentation."


def require_host(*values: Any) -> None:
    """Nothing traced: what computes on the host cannot be part of a compiled function."""
    inside = isinstance(jax.numpy.zeros(()), jax.core.Tracer)
    if inside or any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
        raise TypeError(
            "jasgd plans on the host and compiles by itself: call it outside jax.jit, jax.grad and jax.vmap; jasgd.sweep "
            "maps over settings and seeds."
        )


def numbers(name: str, values: ArrayLike, dtype: type = np.float64) -> np.ndarray:
    """Numbers as an array; words that look like numbers are none."""
    require_host(values)
    try:
        array = np.asarray(values)
        array = array.astype(dtype) if array.dtype == object else array  # None becomes NaN
    except (TypeError, ValueError):  # lists of different lengths, objects
        array = np.asarray("")
    if array.dtype.kind not in "biuf" and array.size and not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
        raise ValueError(f"`{name}` must be a number, or an array of numbers, got {said(values)}.")
    return array.astype(dtype, copy=False)


@contextlib.contextmanager
def explained(call: str, *arguments: Any, hint: str = "") -> Iterator[None]:
    """Say in one sentence which function of the user's failed, on what; the exception itself remains the cause.

    Args:
      call: the function as it is called.
      *arguments: what it was called with.
      hint: what to look at.
    """
    try:
        yield
    except _NEEDS_VALUES as error:
        raise TypeError(
            f"`{call}` must compile: inside it use jax.numpy instead of numpy and float(), jnp.where instead of `if`, and "
            "jnp.asarray(data)[worker] instead of data[worker]."
        ) from error
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).splitlines() or [""]
        reason = lines[0] if isinstance(error, TypeError | ValueError) else f"{type(error).__name__} {lines[0]}"
        kind = type(error) if type(error) in (TypeError, ValueError) else TypeError
        given = ", ".join(map(_shapes, arguments))
        raise kind(f"`{call}` fails for {given}: {reason:.200}".rstrip(".") + f"{hint}.") from error


def _shapes(tree: Any) -> str:
    """Shapes of arrays in a sentence; of many arrays only how many there are."""
    if len(jax.tree.leaves(tree)) > 3:
        return f"{len(jax.tree.leaves(tree))} arrays"
    return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)).replace("'", "")


def require(name: str, value: Any, holds: Callable[[Any], Any], expected: str) -> None:
    """Refuse a number, or an array of numbers, that is not what the rule needs."""
    if isinstance(value, jax.core.Tracer):
        return
    numbers = np.asarray(None if isinstance(value, bool | str) else value)
    if numbers.dtype.kind not in "iuf" and not jax.numpy.issubdtype(numbers.dtype, jax.numpy.floating):
        raise ValueError(f"`{name}` must be {expected}, got {said(value)}.")
    if not all(holds(number) for number in numbers.ravel().tolist()):
        raise ValueError(f"`{name}` must be {expected}, got {said(value)}.")


def require_count(name: str, value: Any) -> None:
    """A positive whole number: it sets the size of an array, so it cannot be traced."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be a positive whole number, got {said(value)}.")


def require_number(name: str, value: Any) -> None:
    """One finite number."""
    require(name, value, lambda x: np.ndim(value) == 0 and np.isfinite(x), "a finite number")


def require_momentum(value: Any, name: str = "momentum") -> None:
    """A number in [0, 1)."""
    require(name, value, lambda m: 0 <= m < 1, "a number in [0, 1)")


def require_not_negative(name: str, value: Any) -> None:
    """A number that is not negative (NaN is)."""
    require(name, value, lambda x: x >= 0, "a number that is not negative")


def require_positive(name: str, value: Any) -> None:
    """A positive number."""
    require(name, value, lambda x: x > 0, "a positive number")
