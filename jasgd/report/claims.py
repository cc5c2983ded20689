"""The claims of a paper about one of its figures, checked on the stored figure as ``jasgd reproduce --claims`` does."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray


def claims_of(dataset: "xarray.Dataset") -> tuple[list[Any], str]:
    """Claims with their verdicts; and if there are none although there is a paper, a sentence why.

    Example:
      >>> import xarray
      >>> claims_of(xarray.Dataset())
      ([], '')
    """
    from jasgd.checkout import checkout

    paper, figure = str(dataset.attrs.get("paper", "")), str(dataset.attrs.get("figure", ""))
    if not (paper.isidentifier() and figure.isdigit()):
        return [], ""
    root = checkout()
    if root is None:
        return [], f"The claims of {paper} are checked in a checkout of jasgd; this page was written outside of one."
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        check = getattr(importlib.import_module(f"experiments.{paper}.claims"), f"figure{figure}")
    except (ImportError, AttributeError):
        return [], f"This checkout has no claims about figure {figure} of {paper}."
    return check(dataset), ""
