"""What goes over the links: messages up, models down, seconds.

A job that arrives, whether it is used or thrown away, has received one model and sent its messages, as the clock of a fleet
with links has it. Of a job that is stopped before it arrives, nothing is counted. Seconds are those of links at full power.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jasgd.schedule import Schedule


__all__ = ["Contents", "Traffic", "traffic"]

# What a history says of the links.
UNITS = {"uploaded_bytes": "B", "downloaded_bytes": "B", "wire_seconds": "s"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What one job of each worker consists of, where that is not one gradient and one message.

    Attributes:
      gradients: (N,) int64, computed at the same point.
      messages: (N,) int64, sent to the server.
      models: (N,) int64, received from it.

    Example:
      Two gradients of the second worker travel as one message:

      >>> one, two = np.ones(2, np.int64), np.array([1, 2])
      >>> contents = jasgd.traffic.Contents(gradients=two, messages=one, models=one)
    """

    gradients: np.ndarray
    messages: np.ndarray
    models: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """What the links carry, in all or in each of several stretches of time.

    Attributes:
      messages: (T,) int64, sent to the server.
      models: (T,) int64, sent to workers.
      seconds: (T,) float64, for which links are busy, added up over the workers.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(2).with_links(upload=0.5), 4)
      >>> jasgd.traffic.traffic(schedule).first(3).messages
      array([0, 1, 2])
    """

    messages: np.ndarray
    models: np.ndarray
    seconds: np.ndarray

    def __eq__(self, other: object) -> bool:
        """The same numbers."""
        return isinstance(other, Traffic) and all(np.array_equal(a, vars(other)[name]) for name, a in vars(self).items())

    __hash__ = None  # type: ignore[assignment]

    def first(self, count: int) -> "Traffic":
        """The first stretches."""
        return Traffic(messages=self.messages[:count], models=self.models[:count], seconds=self.seconds[:count])


def traffic(schedule: "Schedule", *, messages: int = 1) -> Traffic:
    """What the links have carried when each version comes into being, from version 0 on; arrays of length updates + 1.

    Args:
      schedule: who delivers what when.
      messages: of one job, where the schedule does not say.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1.0, 2.5]).with_links(upload=0.5), 3)
      >>> carried = jasgd.traffic.traffic(schedule)
      >>> carried.messages, carried.seconds
      (array([0, 1, 2, 3]), array([0. , 0.5, 1. , 1.5]))
    """
    n, contents, lost = schedule.num_workers, schedule.contents, schedule.lost
    sent = np.full(n, messages) if contents is None else contents.messages
    received = np.ones(n, np.int64) if contents is None else contents.models
    seconds = np.zeros(n) if schedule.wire_seconds is None else schedule.wire_seconds
    factor = messages if contents is None else 1

    def up_to_version(per_job: np.ndarray, in_vain: np.ndarray | None) -> np.ndarray:
        used = np.cumsum(per_job[schedule.worker])[schedule.apply]
        return np.concatenate([np.zeros(1, used.dtype), used if in_vain is None else used + np.cumsum(in_vain)])

    return Traffic(
        messages=up_to_version(sent, None if lost is None else factor * lost.messages),
        models=up_to_version(received, None if lost is None else lost.models),
        seconds=up_to_version(seconds, None if lost is None else lost.seconds),
    )


def same_traffic(one: "Schedule", other: "Schedule") -> bool:
    """Whether jobs hold the same, and the links carry the same; equal tables may differ in both."""

    def contents(schedule: "Schedule") -> list[np.ndarray]:
        return [] if schedule.contents is None else list(vars(schedule.contents).values())

    alike = len(contents(one)) == len(contents(other))
    alike = alike and all(map(np.array_equal, contents(one), contents(other)))
    return alike and traffic(one) == traffic(other)


def columns(
    schedule: "Schedule", versions: np.ndarray, *, messages: int, message_bytes: float, model_bytes: float
) -> dict[str, np.ndarray]:
    """What a history says of the links, at these versions: bytes up, bytes down and busy seconds, from the start."""
    carried = traffic(schedule, messages=messages)
    return {
        "uploaded_bytes": carried.messages[versions] * float(message_bytes),
        "downloaded_bytes": carried.models[versions] * float(model_bytes),
        "wire_seconds": carried.seconds[versions],
    }
