"""One page in HTML that shows stored results: ``jasgd report``."""

from jasgd.report.write import write

__all__ = ["write"]
