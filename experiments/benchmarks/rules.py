"""What an update rule costs: time per update relative to SGD, and memory in multiples of the parameters.

Only the rule is timed, in one compiled loop over the deliveries of a schedule, with gradients out of a small bank. For most
problems a gradient costs much more than any rule here.
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.benchmarks.measure import Competitor, Spread, paired, ratio
from experiments.benchmarks.report import about
from jasgd import rules
from jasgd.engine import tree_bytes
from jasgd.extra_args import trace_rule

N = 100  # workers
_BANK = 8  # gradients


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure what the update rules cost.

    Attributes:
      updates: per run.
      repeats: rounds in which every rule runs once.
      out: also write a JSON file.
    """

    updates: int = 20_000
    repeats: int = 5
    out: Path | None = None


RULES: dict[str, optax.GradientTransformation] = {
    "sgd (Optax)": optax.sgd(1e-3),
    "sgd with momentum (Optax)": optax.sgd(1e-3, momentum=0.9),
    "adam (Optax)": optax.adam(1e-3),
    "delay_adaptive_sgd": rules.delay_adaptive_sgd(1e-3, N),
    "staleness_aware_sgd": rules.staleness_aware_sgd(1e-3),
    "delay_weighted_sgd": rules.delay_weighted_sgd(1e-3, rules.delay_weights.polynomial(0.5)),
    "adadelay": rules.adadelay(1.0, 1.0),
    "drop_stale": rules.drop_stale(optax.sgd(1e-3), 200),
    "picky": rules.picky(optax.sgd(1e-3), 1.0),
    "rescaled_sgd": rules.rescaled_sgd(1e-3, np.arange(1.0, N + 1)),
    "ormo": rules.ormo(1e-3, 0.9, N),
    "ormo_da": rules.ormo_da(1e-3, 0.9, N),
    "worker_momentum": rules.worker_momentum(1e-3, 0.9, N),
    "dana_slim": rules.dana_slim(1e-3, 0.9, N),
    "dana_zero": rules.dana_zero(1e-3, 0.9, N),
    "smega2": rules.smega2(1e-3, 0.9, N),
    "delayed_nesterov": rules.delayed_nesterov(1e-3, 0.9, N),
    "weight_prediction": rules.weight_prediction(1e-3, 0.9, N - 1),
    "dude": rules.dude(1e-3, N),
    "aced": rules.aced(1e-3, N, 50),
    "saga": rules.saga(1e-3, N),
    "fedvarp": rules.fedvarp(1e-3, N),
    "ca2fl": rules.ca2fl(1e-3, N),
    "ringleader": rules.ringleader(1e-3, N),
    "dc_asgd": rules.dc_asgd(1e-3, 0.04),
    "dc_asgd_adaptive": rules.dc_asgd_adaptive(1e-3, 2.0),
    "gap_aware": rules.gap_aware(1e-3),
    "fedbuff": rules.fedbuff(1e-3),
    "fedasync": rules.fedasync(0.5),
    "fadas": rules.fadas(1e-3),
}


def loop(rule: optax.GradientTransformation, params: Any, schedule: jasgd.Schedule) -> tuple[Callable[[], Any], float]:
    """A run of all updates, and the state's size in multiples of the parameters."""
    rule = optax.with_extra_args_support(rule)
    asked = trace_rule(rule, params)[2]
    columns = {
        "worker": schedule.worker,
        "delay": schedule.delay,
        "step": schedule.version,
        "duration": schedule.duration.astype(np.float32),
        "apply": np.arange(len(schedule)) % 10 == 9,
    }
    rows = {name: jnp.asarray(column) for name, column in columns.items() if name in asked}
    keys = jax.random.split(jax.random.key(0), _BANK)
    bank = jax.vmap(lambda key: optax.tree.random_like(key, params))(keys)
    stale = jax.tree.map(lambda p: p + 1e-3, params)

    def update(k: jax.Array, carry: Any) -> Any:
        params, state = carry
        gradient = jax.tree.map(lambda g: g[k % _BANK], bank)
        extra = {name: column[k] for name, column in rows.items()}
        if "stale_params" in asked:
            extra["stale_params"] = stale
        updates, state = rule.update(gradient, state, params, **extra)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def run(params: Any, state: Any) -> Any:
        return jax.lax.fori_loop(0, len(schedule), update, (params, state))

    state = rule.init(params)
    return lambda: jax.block_until_ready(run(params, state)), tree_bytes(state) / tree_bytes(params)


def main(options: Options) -> None:
    """Measure, print the table, write the file."""
    params = jasgd.problems.mlp(N).init(jax.random.key(0))
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(N, exponent=0.5), options.updates)
    made = {name: loop(rule, params, schedule) for name, rule in RULES.items()}
    competitors = [Competitor(name=name, run=run, deliveries=options.updates) for name, (run, _) in made.items()]
    rates = paired(competitors, repeats=options.repeats)
    base = "sgd (Optax)"
    results = {
        name: {
            "microseconds": Spread.of([1e6 / rate for rate in rates[name]]),
            "relative_to_sgd": ratio(rates, base, name),
            "memory": made[name][1],
        }
        for name in RULES
    }
    print("| rule | state, in parameters | µs per update | relative to SGD |\n| --- | --- | --- | --- |")
    for name, result in results.items():
        micro, relative = result["microseconds"], result["relative_to_sgd"]
        print(
            f"| {name} | {result['memory']:.1f} | {micro.median:.2f} | "
            f"{relative.median:.2f} ({relative.low:.2f} to {relative.high:.2f}) |"
        )
    settings = about(repeats=options.repeats, quick=False)
    print("\n" + "; ".join(f"{name} {value}" for name, value in settings.items()))
    if options.out is not None:
        rows = {
            name: {k: dataclasses.asdict(v) if isinstance(v, Spread) else v for k, v in r.items()}
            for name, r in results.items()
        }
        options.out.write_text(json.dumps({"about": settings, "workers": N, "rules": rows}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    main(tyro.cli(Options))
