import itertools
import os

os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd

jax.config.update("jax_numpy_rank_promotion", "raise")


def is_compiled_quickly(item):
    """Files marked ``compiled_quickly`` do without most of LLVM's optimisation, which takes half the time of compilation.

    They make no claim about bits or machine code, but for tests marked ``compiled_fully``. With ``-m ""`` or ``-m slow``
    everything is compiled as for users.
    """
    quickly, fully = map(item.get_closest_marker, ("compiled_quickly", "compiled_fully"))
    return item.config.option.markexpr == "not slow" and quickly is not None and fully is None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Examples are compiled quickly; within a file what is compiled so comes first, so that programs are given up once."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("compiled_quickly")
    items[:] = [
        item
        for _, file in itertools.groupby(items, key=lambda item: item.path)
        for item in sorted(file, key=is_compiled_quickly, reverse=True)
    ]


@pytest.hookimpl(tryfirst=True)  # before fixtures, which compile, too
def pytest_runtest_setup(item):
    """Programs that were compiled quickly are not for tests that are compiled as for users."""
    quickly = is_compiled_quickly(item)
    if not quickly and jax.config.read("jax_disable_most_optimizations"):
        jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", quickly)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quickly)  # also for processes that tests start


@pytest.fixture(autouse=True)
def _names_for_examples(doctest_namespace, tmp_path):
    """What the examples in docstrings may use without saying so."""
    trace_csv = tmp_path / "trace.csv"
    trace_csv.write_text("worker,duration\n0,1.0\n1,2.0\n0,1.5\n")
    doctest_namespace.update(jasgd=jasgd, jax=jax, jnp=jnp, np=np, optax=optax, tmp_path=tmp_path, trace_csv=trace_csv)
