"""A progress bar, or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(total: int, show: bool | str) -> Iterator[Any]:
    """Of gradients."""
    if not show:
        yield _NoBar()
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError('the progress bar needs tqdm: pip install "jasgd[experiments]".') from None
    with tqdm(total=total, unit=" gradients", unit_scale=True, desc=show if isinstance(show, str) else None) as bar:
        yield bar


class _NoBar:
    n = 0

    def update(self, _: int) -> None:
        """Nothing to show."""

    def set_description(self, _: str) -> None:
        """Nothing to show."""
