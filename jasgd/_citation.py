"""Every rule and protocol knows its paper."""

import sys
from collections.abc import Callable
from typing import Any


def citation(function: Callable[..., Any]) -> str:
    """The BibTeX entries of the papers behind a rule, a protocol or a method.

    Example:
      >>> print(jasgd.citation(jasgd.rules.ormo).splitlines()[0])
      @inproceedings{shi2024ordered,
    """
    module = sys.modules.get(getattr(function, "__module__", ""))
    text = getattr(module, "CITATION", None)
    if text is None:
        raise ValueError(f"{getattr(function, '__name__', function)!r} belongs to no paper that jasgd knows of.")
    return str(text)
