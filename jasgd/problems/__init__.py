"""Problems: objectives, the data of each worker, metrics."""

from jasgd.problems import partition
from jasgd.problems.classification import Dataset, classification, digits, logistic_regression, mlp
from jasgd.problems.covariate_shift import covariate_shift
from jasgd.problems.files import cifar10, fashion_mnist, mnist
from jasgd.problems.least_squares import least_squares
from jasgd.problems.networks import cnn, resnet20
from jasgd.problems.problem import Problem
from jasgd.problems.progress_quadratic import progress_quadratic
from jasgd.problems.quadratic import quadratic

__all__ = [
    "Dataset",
    "Problem",
    "cifar10",
    "classification",
    "cnn",
    "covariate_shift",
    "digits",
    "fashion_mnist",
    "least_squares",
    "logistic_regression",
    "mlp",
    "mnist",
    "partition",
    "progress_quadratic",
    "quadratic",
    "resnet20",
]
