"""Pictures of a schedule: its timeline, delays and utilisation; a timeline to zoom into, a trace for other viewers."""

from jasgd.pictures.delays import delays
from jasgd.pictures.jobs import KINDS, Jobs, jobs
from jasgd.pictures.timeline import timeline
from jasgd.pictures.trace import trace
from jasgd.pictures.utilisation import utilisation
from jasgd.pictures.zoomable import zoomable

__all__ = ["KINDS", "Jobs", "delays", "jobs", "timeline", "trace", "utilisation", "zoomable"]
