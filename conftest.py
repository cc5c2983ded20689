import os

os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _names_for_examples(doctest_namespace, tmp_path):
    """What the examples in docstrings may use without saying so."""
    trace_csv = tmp_path / "trace.csv"
    trace_csv.write_text("worker,duration\n0,1.0\n1,2.0\n0,1.5\n")
    doctest_namespace.update(jasgd=jasgd, jax=jax, jnp=jnp, np=np, optax=optax, tmp_path=tmp_path, trace_csv=trace_csv)
