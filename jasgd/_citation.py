"""Rules, protocols and methods know their papers."""

import sys
from typing import Any

from jasgd._checks import said


def citation(of: Any) -> str:
    """The BibTeX entries of the papers behind a rule, a protocol, or a :class:`jasgd.methods.Method`.

    Example:
      >>> print(jasgd.citation(jasgd.rules.ormo).splitlines()[0])
      @inproceedings{shi2024ordered,
    """
    reference = getattr(of, "reference", None)
    if isinstance(reference, str):
        return reference
    name, module = getattr(of, "__name__", repr(of)), sys.modules.get(getattr(of, "__module__", ""))
    # A module that serves several papers says which function belongs to which.
    text = getattr(module, "CITATIONS", {}).get(name) or getattr(module, "CITATION", None)
    if text is None:
        raise ValueError(f"{said(of)} belongs to no paper that jasgd knows of; give a rule, a protocol or a method itself.")
    return str(text)
