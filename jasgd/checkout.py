"""The checkout with the experiments and the benchmarks, which are not part of the package."""

import sys
from pathlib import Path


def checkout() -> Path | None:
    """The checkout that this package belongs to, or the current folder if that is one.

    Example:
      >>> checkout() is None or (checkout() / "experiments").is_dir()
      True
    """
    for root in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if (root / "experiments" / "benchmarks").is_dir() and (root / "jasgd").is_dir():
            return root
    return None


def use_checkout(root: Path | None, what: str) -> Path:
    """Make the checkout's experiments importable.

    Args:
      root: of :func:`checkout`.
      what: needs it, for the sentence that is raised if there is none.

    Example:
      >>> use_checkout(None, "the experiments")
      Traceback (most recent call last):
      ValueError: the experiments live in a checkout of jasgd; run this command in one.
    """
    if root is None:
        raise ValueError(f"{what} live in a checkout of jasgd; run this command in one.")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root
