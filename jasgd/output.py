"""What commands print on stdout: words for people, or one JSON document for programs. Progress and errors go to stderr."""

import dataclasses
import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np


def show(text: str, document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one of the two.

    Example:
      >>> show("gap 0.5", {"gap": 0.5}, as_json=False)
      gap 0.5
      >>> show("gap nan", {"gap": float("nan"), "files": {"result": tmp_path / "a.nc"}}, as_json=True)  # doctest: +ELLIPSIS
      {
        "gap": null,
        "files": {
          "result": "...a.nc"
        }
      }
    """
    print(json.dumps(plain(document), indent=2, allow_nan=False) if as_json else text, flush=True)


def plain(value: Any) -> Any:
    """The same in what JSON has: words, numbers, lists and tables; infinite numbers and NaN become None.

    Example:
      >>> plain({"rates": np.array([0.5, np.inf]), "runs": np.int64(3)})
      {'rates': [0.5, None], 'runs': 3}
    """
    match value:
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    return str(value)


def listed(**files: str | os.PathLike[str]) -> str:
    """Where things are, a line for each.

    Example:
      >>> print(listed(result="race.nc", picture="race.png"))
      result   race.nc
      picture  race.png
    """
    width = max(map(len, files)) + 2
    return "\n".join(f"{name.replace('_', ' '):<{width}}{os.fspath(path)}" for name, path in files.items())


def to_go_on(kept: str) -> str:
    """What is kept, and the command line that goes on from there.

    Example:
      >>> to_go_on("finished runs are kept").startswith("finished runs are kept. To go on: jasgd")
      True
    """
    return f"{kept}. To go on: {shlex.join(['jasgd', *sys.argv[1:]])}"
