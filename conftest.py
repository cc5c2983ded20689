import os

os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.hookimpl(tryfirst=True)  # before fixtures, which compile, too
def pytest_runtest_setup(item):
    """Compile without most of LLVM's optimisation, which takes half the time that small programs take to compile.

    Tests marked ``optimised`` make claims about bits or machine code. They are compiled as for users; so is everything where
    other tests are asked for than the quick ones, as with ``-m ""`` or ``-m slow``.
    """
    optimised = item.config.option.markexpr != "not slow" or item.get_closest_marker("optimised") is not None
    if optimised and jax.config.read("jax_disable_most_optimizations"):
        jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", not optimised)


@pytest.fixture(autouse=True)
def _names_for_examples(doctest_namespace, tmp_path):
    """What the examples in docstrings may use without saying so."""
    trace_csv = tmp_path / "trace.csv"
    trace_csv.write_text("worker,duration\n0,1.0\n1,2.0\n0,1.5\n")
    doctest_namespace.update(jasgd=jasgd, jax=jax, jnp=jnp, np=np, optax=optax, tmp_path=tmp_path, trace_csv=trace_csv)
