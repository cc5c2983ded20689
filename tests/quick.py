"""Programs of tests, compiled quickly."""

import functools

import jax


def _is_known(option, value):
    """Whether this release of XLA has the option; they come and go."""
    try:
        jax.jit(lambda x: x, compiler_options={option: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


# What these programs compute is the claim, not how fast: without LLVM's optimisation and XLA's newest code generator for
# fusions they compile in a third of the time. What jasgd compiles itself is compiled as for users.
_OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
jit = functools.partial(
    jax.jit, compiler_options={name: value for name, value in _OPTIONS.items() if _is_known(name, value)}
)
