import os

os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd

jax.config.update("jax_numpy_rank_promotion", "raise")


# Part of the key of all caches of JAX: what is compiled quickly and what is not live side by side.
COMPILED_QUICKLY = jax.make_user_context(False)


def pytest_collection_modifyitems(items):
    """Examples make no claim about bits."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("compiled_quickly")


@pytest.hookimpl(tryfirst=True)  # before fixtures, which compile, too
def pytest_runtest_setup(item):
    """Files marked ``compiled_quickly`` do without most of LLVM's optimisation, which takes half the time of compilation.

    They make no claim about bits or machine code, but for tests marked ``compiled_fully``. With ``-m ""`` or ``-m slow``
    everything is compiled as for users.
    """
    quickly, fully = map(item.get_closest_marker, ("compiled_quickly", "compiled_fully"))
    chosen = item.config.option.markexpr == "not slow" and quickly is not None and fully is None
    COMPILED_QUICKLY.set_global(chosen)
    jax.config.update("jax_disable_most_optimizations", chosen)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(chosen)  # also for processes that tests start


@pytest.fixture(autouse=True)
def _names_for_examples(request, doctest_namespace):
    """What the examples in docstrings may use without saying so; other tests need no folder."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    tmp_path = request.getfixturevalue("tmp_path")
    trace_csv = tmp_path / "trace.csv"
    trace_csv.write_text("worker,duration\n0,1.0\n1,2.0\n0,1.5\n")
    doctest_namespace.update(jasgd=jasgd, jax=jax, jnp=jnp, np=np, optax=optax, tmp_path=tmp_path, trace_csv=trace_csv)
