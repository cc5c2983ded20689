"""What the tuner needs beside the package itself, and the sentence that names it where it is missing."""

from typing import Any


def configspace() -> Any:
    """The library of search spaces.

    Example:
      >>> configspace().__name__
      'ConfigSpace'
    """
    try:
        import ConfigSpace
    except ImportError:
        raise ImportError('search spaces need ConfigSpace: pip install "jasgd[tune]".') from None
    return ConfigSpace
