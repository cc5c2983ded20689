"""Update rules: Optax transformations that know of delays, workers and durations. They never see the simulator."""

from jasgd.rules import delay_weights
from jasgd.rules.accelerated_sgd import accelerated_sgd
from jasgd.rules.aced import aced, scale_by_aced
from jasgd.rules.adadelay import adadelay, scale_by_adadelay, scale_by_adadelay_per_coordinate
from jasgd.rules.averaged_sgd import averaged_sgd
from jasgd.rules.ca2fl import ca2fl, scale_by_ca2fl
from jasgd.rules.dana import dana_slim, dana_zero, scale_by_dana_slim, scale_by_dana_zero
from jasgd.rules.dc_asgd import (
    dc_asgd,
    dc_asgd_adaptive,
    scale_by_adaptive_delay_compensation,
    scale_by_delay_compensation,
)
from jasgd.rules.delay_schedule import DelaySchedule, inverse_step
from jasgd.rules.delayed_nesterov import delayed_nesterov, scale_by_delayed_nesterov
from jasgd.rules.drop_stale import drop_stale
from jasgd.rules.dude import dude, scale_by_dude, semi_asynchronous_dude
from jasgd.rules.ef21 import ef21, scale_by_ef21
from jasgd.rules.fadas import fadas, scale_by_fadas
from jasgd.rules.fedasync import fedasync, scale_by_mixing
from jasgd.rules.fedbuff import fedbuff
from jasgd.rules.fedvarp import fedvarp, scale_by_fedvarp
from jasgd.rules.gap_aware import gap_aware, scale_by_gap
from jasgd.rules.mifa import mifa
from jasgd.rules.ormo import ormo, ormo_da, scale_by_ormo
from jasgd.rules.picky import picky
from jasgd.rules.pipemare import scale_by_pipemare
from jasgd.rules.precondition import precondition
from jasgd.rules.reported import report, reported_params
from jasgd.rules.rescaled import (
    rescaled_sgd,
    rescaled_sgd_by_delay,
    rescaled_sgd_by_duration,
    scale_by_computation_time,
    scale_by_delay_share,
    scale_by_duration,
)
from jasgd.rules.ringleader import ringleader, scale_by_ringleader
from jasgd.rules.saga import saga, scale_by_saga
from jasgd.rules.scale_by_delay import delay_adaptive_sgd, delay_weighted_sgd, scale_by_delay, staleness_aware_sgd
from jasgd.rules.sent import sent_params
from jasgd.rules.smega2 import scale_by_smega2, smega2
from jasgd.rules.storm import Pair, storm
from jasgd.rules.weight_prediction import pipeline_nesterov, scale_by_weight_prediction, weight_prediction
from jasgd.rules.when_applied import gather, when_applied
from jasgd.rules.worker_momentum import scale_by_worker_momentum, worker_momentum

__all__ = [
    "DelaySchedule",
    "Pair",
    "accelerated_sgd",
    "aced",
    "adadelay",
    "averaged_sgd",
    "ca2fl",
    "dana_slim",
    "dana_zero",
    "dc_asgd",
    "dc_asgd_adaptive",
    "delay_adaptive_sgd",
    "delay_weighted_sgd",
    "delay_weights",
    "delayed_nesterov",
    "drop_stale",
    "dude",
    "ef21",
    "fadas",
    "fedasync",
    "fedbuff",
    "fedvarp",
    "gap_aware",
    "gather",
    "inverse_step",
    "mifa",
    "ormo",
    "ormo_da",
    "picky",
    "pipeline_nesterov",
    "precondition",
    "report",
    "reported_params",
    "rescaled_sgd",
    "rescaled_sgd_by_delay",
    "rescaled_sgd_by_duration",
    "ringleader",
    "saga",
    "scale_by_aced",
    "scale_by_adadelay",
    "scale_by_adadelay_per_coordinate",
    "scale_by_adaptive_delay_compensation",
    "scale_by_ca2fl",
    "scale_by_computation_time",
    "scale_by_dana_slim",
    "scale_by_dana_zero",
    "scale_by_delay",
    "scale_by_delay_compensation",
    "scale_by_delay_share",
    "scale_by_delayed_nesterov",
    "scale_by_dude",
    "scale_by_duration",
    "scale_by_ef21",
    "scale_by_fadas",
    "scale_by_fedvarp",
    "scale_by_gap",
    "scale_by_mixing",
    "scale_by_ormo",
    "scale_by_pipemare",
    "scale_by_ringleader",
    "scale_by_saga",
    "scale_by_smega2",
    "scale_by_weight_prediction",
    "scale_by_worker_momentum",
    "semi_asynchronous_dude",
    "sent_params",
    "smega2",
    "staleness_aware_sgd",
    "storm",
    "weight_prediction",
    "when_applied",
    "worker_momentum",
]
