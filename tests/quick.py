"""Programs of tests, compiled quickly."""

import functools

import jax

# What these programs compute is the claim, not how fast: without LLVM's optimisation and XLA's newest code generator for
# fusions they compile in a third of the time. What jasgd compiles itself is compiled as for users.
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
)
