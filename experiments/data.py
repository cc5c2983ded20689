"""Data sets by name, for figures that classify, and the networks for them."""

from typing import Any

from jasgd import problems


def dataset(name: str, folder: str) -> problems.Dataset:
    """The training examples of a data set; ``folder`` has its standard files, the digits need none."""
    match name:
        case "digits":
            return problems.digits()
        case "mnist":
            return problems.mnist(folder)
        case "fashion_mnist":
            return problems.fashion_mnist(folder)
        case "cifar10":
            return problems.cifar10(folder)
        case _:
            raise ValueError(f"there is no data set {name!r}; there are digits, mnist, fashion_mnist and cifar10.")


def classifier(data: problems.Dataset, shards: Any, *, hidden: int, **arguments: Any) -> problems.Problem:
    """ResNet-20 for images in colour, a small convolutional network for others, else a perceptron with a hidden layer."""
    classes = int(data.labels.max()) + 1
    if data.inputs.ndim == 2:
        return problems.mlp(shards, hidden=(hidden,), data=data, **arguments)
    network = problems.resnet20(classes) if data.inputs.shape[-1] == 3 else problems.cnn(classes)
    return problems.classification(network, shards, data=data, **arguments)
