"""What a run has recorded."""

import numpy as np

from jasgd._checks import or_rather


class History(dict[str, np.ndarray]):
    """Columns of one length by their names; a name that is unknown gets the nearest one.

    Example:
      >>> History(loss=np.zeros(3))["los"]
      Traceback (most recent call last):
      KeyError: "the history has no 'los'; did you mean 'loss'?"
    """

    def __missing__(self, name: str) -> np.ndarray:
        raise KeyError(f"the history has no {name!r}; {or_rather(name, self)}")
