"""Data sets by name, for figures that classify."""

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
