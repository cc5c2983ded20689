"""Problems: objectives, the data of each worker, metrics."""

from jasgd.problems import partition
from jasgd.problems.classification import Dataset, classification, digits, logistic_regression, mlp
from jasgd.problems.least_squares import least_squares
from jasgd.problems.problem import Problem
from jasgd.problems.quadratic import quadratic

__all__ = [
    "Dataset",
    "Problem",
    "classification",
    "digits",
    "least_squares",
    "logistic_regression",
    "mlp",
    "partition",
    "quadratic",
]
