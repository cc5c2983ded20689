"""Constants, step sizes, times and bounds of the papers, as float64 functions to evaluate and plot."""

from jasgd.theory.bounds import (
    asynchronous_bound,
    bounded_gradient_bound,
    convex_delay_adaptive_bound,
    delay_adaptive_bound,
    lipschitz_bound,
)
from jasgd.theory.client_sampling import (
    random_assignment_time,
    sampled_minibatch_time,
)
from jasgd.theory.covariate_shift import (
    ShiftOptimum,
    shift_comparators,
    shift_least_favourable,
    shift_lower_bound,
    shift_optimum,
    shift_worst_risk,
)
from jasgd.theory.dasgd import (
    dasgd_bound,
    dasgd_bounded_gradient_bound,
    dasgd_step_size,
)
from jasgd.theory.decentralized import (
    amelie_time,
    decentralized_equilibrium_time,
    fragile_batch,
    fragile_iterations,
    fragile_pivot,
    fragile_step_size,
    fragile_time,
    graph_minibatch_time,
    mesh_time,
)
from jasgd.theory.delayed_stability import (
    delayed_stability_limit,
)
from jasgd.theory.equilibrium import (
    equilibrium_time,
)
from jasgd.theory.iterations import (
    asynchronous_iterations,
    birch_iterations,
    delay_adaptive_iterations,
    dude_iterations,
    mindflayer_iterations,
    random_assignment_iterations,
    rennala_iterations,
    ringleader_iterations,
    ringmaster_iterations,
)
from jasgd.theory.link_times import (
    communication_times,
    linked_minibatch_time,
)
from jasgd.theory.mindflayer import (
    mindflayer_gradient_time,
    mindflayer_lognormal_gradient_time,
    mindflayer_time,
    mindflayer_trials,
)
from jasgd.theory.round_times import (
    m_synchronous_round_time,
    malenia_round_time,
    rennala_round_time,
    ringmaster_block_time,
    ringmaster_lmo_time,
)
from jasgd.theory.rule_bounds import (
    dude_bound,
    ormo_bound,
    ormo_da_bound,
)
from jasgd.theory.shadowheart import (
    ShadowheartCounts,
    shadowheart_counts,
    shadowheart_iterations,
    shadowheart_step_size,
)
from jasgd.theory.shift_filters import (
    filter_risk,
    shift_preconditioner,
)
from jasgd.theory.step_sizes import (
    asynchronous_step_size,
    delay_adaptive_step_size,
    dude_step_size,
    lipschitz_step_size,
    ormo_step_size,
    rescaled_step_size,
    stability_limit,
)
from jasgd.theory.thresholds import (
    best_m,
    best_m_synchronous,
    malenia_batch,
    rennala_batch,
    ringleader_batch,
    ringmaster_threshold,
)
from jasgd.theory.time_complexity import (
    asynchronous_time,
    convex_optimal_time,
    dude_time,
    m_synchronous_factor,
    m_synchronous_time,
    optimal_time,
    rescaled_time,
    strongly_convex_optimal_time,
    synchronous_time,
)
from jasgd.theory.time_optimal_step_sizes import (
    birch_step_size,
    mindflayer_step_size,
    rennala_step_size,
    ringleader_step_size,
    ringmaster_step_size,
)
from jasgd.theory.times import (
    harmonic_mean,
    harmonic_means,
    mean_time,
    update_shares,
)
from jasgd.theory.universal import (
    universal_ringmaster_times,
    universal_times,
)

__all__ = [
    "ShadowheartCounts",
    "ShiftOptimum",
    "amelie_time",
    "asynchronous_bound",
    "asynchronous_iterations",
    "asynchronous_step_size",
    "asynchronous_time",
    "best_m",
    "best_m_synchronous",
    "birch_iterations",
    "birch_step_size",
    "bounded_gradient_bound",
    "communication_times",
    "convex_delay_adaptive_bound",
    "convex_optimal_time",
    "dasgd_bound",
    "dasgd_bounded_gradient_bound",
    "dasgd_step_size",
    "decentralized_equilibrium_time",
    "delay_adaptive_bound",
    "delay_adaptive_iterations",
    "delay_adaptive_step_size",
    "delayed_stability_limit",
    "dude_bound",
    "dude_iterations",
    "dude_step_size",
    "dude_time",
    "equilibrium_time",
    "filter_risk",
    "fragile_batch",
    "fragile_iterations",
    "fragile_pivot",
    "fragile_step_size",
    "fragile_time",
    "graph_minibatch_time",
    "harmonic_mean",
    "harmonic_means",
    "linked_minibatch_time",
    "lipschitz_bound",
    "lipschitz_step_size",
    "m_synchronous_factor",
    "m_synchronous_round_time",
    "m_synchronous_time",
    "malenia_batch",
    "malenia_round_time",
    "mean_time",
    "mesh_time",
    "mindflayer_gradient_time",
    "mindflayer_iterations",
    "mindflayer_lognormal_gradient_time",
    "mindflayer_step_size",
    "mindflayer_time",
    "mindflayer_trials",
    "optimal_time",
    "ormo_bound",
    "ormo_da_bound",
    "ormo_step_size",
    "random_assignment_iterations",
    "random_assignment_time",
    "rennala_batch",
    "rennala_iterations",
    "rennala_round_time",
    "rennala_step_size",
    "rescaled_step_size",
    "rescaled_time",
    "ringleader_batch",
    "ringleader_iterations",
    "ringleader_step_size",
    "ringmaster_block_time",
    "ringmaster_iterations",
    "ringmaster_lmo_time",
    "ringmaster_step_size",
    "ringmaster_threshold",
    "sampled_minibatch_time",
    "shadowheart_counts",
    "shadowheart_iterations",
    "shadowheart_step_size",
    "shift_comparators",
    "shift_least_favourable",
    "shift_lower_bound",
    "shift_optimum",
    "shift_preconditioner",
    "shift_worst_risk",
    "stability_limit",
    "strongly_convex_optimal_time",
    "synchronous_time",
    "universal_ringmaster_times",
    "universal_times",
    "update_shares",
]
