"""``jasgd doctor``: is everything there, what fits, and does the engine compute what it should?"""

import dataclasses
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

import jasgd
from jasgd.checkout import checkout
from jasgd.hosts import use_all_cores
from jasgd.memory import free_memory
from jasgd.output import show
from jasgd.selftest import selftest

# Wrong is what spoils results or stops work; a note is what there need not be.
Status = Literal["ok", "note", "wrong"]

CORE = ("jax", "jaxlib", "numpy", "optax", "chex", "flax")
# Which extra installs what is not needed by the simulator itself.
EXTRAS = {
    "experiments": (
        "xarray",
        "h5netcdf",
        "h5py",
        "matplotlib",
        "orbax-checkpoint",
        "tyro",
        "tqdm",
        "scikit-learn",
        "networkx",
        "ConfigSpace",
    ),
    "smt": ("smt",),
    "optuna": ("optuna",),
}
BAD_RELEASES = {"0.10.2": "computes wrong numbers on CPUs", "0.11.1": "was withdrawn"}
_OLDEST = "0.10.0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorCommand:
    """Check the installation, the devices, the memory, and the engine against the slow event loop.

    Takes about ten seconds. The exit code is 1 if something is wrong.

    Examples:
      jasgd doctor
      jasgd doctor --json
    """

    json: bool = False
    """Print one JSON document instead of a list."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Something that was looked at: where it belongs, what it is, how it is, in a sentence."""

    section: str
    name: str
    status: Status
    text: str


def doctor(command: DoctorCommand) -> int:
    """Run the command; returns the exit code."""
    use_all_cores()
    versions = {name: version(name) for name in (*CORE, *(name for names in EXTRAS.values() for name in names))}
    checks, devices, details = [*package_checks(versions), *folder_checks()], list[jax.Device](), dict[str, Any]()
    try:
        devices = jax.local_devices()
    except Exception as error:  # whatever a plugin raises
        reason = " ".join([type(error).__name__, *str(error).splitlines()[:1]])
        text = f"JAX starts on no device: {reason} (JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')})"
        checks.append(Check(section="devices", name="devices", status="wrong", text=text))
    else:
        engine, details = engine_check()
        checks += [*device_checks(devices), engine]
    wrong = [check for check in checks if check.status == "wrong"]
    about = {"jasgd": jasgd.__version__, "python": platform.python_version(), "platform": platform.platform(terse=True)}
    document = {
        "ok": not wrong,
        **about,
        "versions": versions,
        "devices": [describe(device) for device in devices],
        "engine": details,
        "checks": checks,
    }
    head = f"jasgd {about['jasgd']}, Python {about['python']}, {about['platform']}"
    end = f"{len(wrong)} wrong, see above." if wrong else "All is well."
    show(f"{head}\n{_listed(checks)}\n\n{end}", document, as_json=command.json)
    return 1 if wrong else 0


def version(package: str) -> str | None:
    """Of an installed package, or None.

    Example:
      >>> version("jax") == jax.__version__, version("no such package")
      (True, None)
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_checks(versions: Mapping[str, str | None]) -> Iterator[Check]:
    """What is to be said about versions.

    Example:
      >>> [check.text for check in package_checks({"jax": "0.10.2", "jaxlib": "0.10.2"}) if check.status == "wrong"][0]
      'jax 0.10.2 computes wrong numbers on CPUs; pip install --upgrade jax jaxlib'
    """
    upgrade = "pip install --upgrade jax jaxlib"
    for name in CORE:
        found, status, text = versions.get(name), "ok", ""
        if found is None:
            status, text = "wrong", f"is missing; pip install {name}"
        elif name in ("jax", "jaxlib") and _release(found) in BAD_RELEASES:
            status, text = "wrong", f"{BAD_RELEASES[_release(found)]}; {upgrade}"
        elif name in ("jax", "jaxlib") and _numbers(found) < _numbers(_OLDEST):
            status, text = "wrong", f"is older than {_OLDEST}; {upgrade}"
        yield _of_package(name, found, status, text)
    both = versions.get("jax"), versions.get("jaxlib")
    if None not in both and _release(str(both[0])) != _release(str(both[1])):
        text = f"jax {both[0]} and jaxlib {both[1]} are of different releases; {upgrade}"
        yield Check(section="packages", name="jax and jaxlib", status="wrong", text=text)
    for extra, names in EXTRAS.items():
        for name in names:
            found = versions.get(name)
            missing = f'is missing; pip install "jasgd[{extra}]" if you need it'
            yield _of_package(name, found, "ok" if found else "note", "" if found else missing)


def _of_package(name: str, found: str | None, status: Any, text: str) -> Check:
    words = " ".join(filter(None, (name, found, text)))
    return Check(section="packages", name=name, status=status, text=words)


def _release(text: str) -> str:
    return ".".join(map(str, _numbers(text)))


def _numbers(text: str) -> tuple[int, ...]:
    """The first three, without what follows, as in 0.10.1.dev3."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def describe(device: jax.Device) -> dict[str, Any]:
    """A device, its free memory, and how many snapshots of models of so many parameters fit, in single precision.

    Example:
      >>> sorted(describe(jax.local_devices()[0]))
      ['free_bytes', 'kind', 'platform', 'snapshots']
    """
    free = int(free_memory(device))
    snapshots = {size: free // (4 * size) for size in (10**5, 10**6, 10**7)}
    return {"kind": device.device_kind, "platform": device.platform, "free_bytes": free, "snapshots": snapshots}


def device_checks(devices: Sequence[jax.Device]) -> Iterator[Check]:
    """Devices, cores, precision and memory.

    Example:
      >>> [check.section for check in device_checks(jax.local_devices())][-1]
      'memory'
    """
    cores = _cores()
    kinds = ", ".join(f"{count} x {kind}" for kind, count in _counted(device.device_kind for device in devices).items())
    on = devices[0].platform
    yield Check(section="devices", name="devices", status="ok", text=f"JAX sees {kinds} ({on}); {cores} CPU cores")
    if on == "cpu" and len(devices) != cores:
        text = f"{len(devices)} CPU devices for {cores} cores: sweeps use a device per core unless XLA_FLAGS says otherwise"
        yield Check(section="devices", name="cores", status="note", text=text)
    if on == "cpu" and Path("/proc/driver/nvidia").exists():
        text = 'there is an NVIDIA GPU that JAX does not use; pip install --upgrade "jax[cuda13]"'
        yield Check(section="devices", name="gpu", status="note", text=text)
    x64 = bool(jax.config.read("jax_enable_x64"))
    text = "double precision is on (JAX_ENABLE_X64)" if x64 else "single precision; JAX_ENABLE_X64=1 for double"
    yield Check(section="devices", name="x64", status="ok", text=text)
    shared = devices[:1] if on == "cpu" else devices  # the devices of a CPU share its memory
    for device in shared:
        found = describe(device)
        fits = ", ".join(f"{count:,} of 10^{len(str(size)) - 1}" for size, count in found["snapshots"].items())
        text = f"{found['free_bytes'] / 2**30:.1f} GiB free on {device}, room for as many snapshots: {fits} parameters"
        yield Check(section="memory", name=str(device), status="ok", text=text)


def folder_checks() -> Iterator[Check]:
    """The checkout, and whether results can be written."""
    root = checkout()
    text = f"experiments and benchmarks of {root}" if root else "no checkout here: reproduce and bench need one"
    yield Check(section="folders", name="checkout", status="ok" if root else "note", text=text)
    results = Path("jasgd-results")
    try:
        with tempfile.TemporaryFile(dir=results if results.is_dir() else Path()):
            yield Check(section="folders", name="results", status="ok", text=f"{results} can be written here")
    except OSError as error:
        text = f"{results.absolute()} cannot be written ({error.strerror}); choose another folder with --out"
        yield Check(section="folders", name="results", status="wrong", text=text)


def engine_check() -> tuple[Check, dict[str, Any]]:
    """The self-test, and its numbers."""
    try:
        found = selftest()
    except Exception as error:
        traceback.print_exc()
        text = f"engine does not run: {type(error).__name__}, see above"
        return Check(section="engine", name="agreement", status="wrong", text=text), {"agrees": False, "problems": [text]}
    difference = f"{found.difference:.0e}".replace("e-0", "e-")
    text = f"{'yes' if found.agrees else 'no'} (largest relative difference {difference})"
    text = f"engine agrees with the slow event loop: {text}; {found.simulations} simulations, {found.seconds:.1f} s"
    text = " ".join([text, *found.problems])
    details = {"agrees": found.agrees, **dataclasses.asdict(found)}
    return Check(section="engine", name="agreement", status="ok" if found.agrees else "wrong", text=text), details


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _counted(words: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return found


def _listed(checks: list[Check]) -> str:
    """Sections of marked lines; colours and ticks on a terminal that has them."""
    terminal = sys.stdout.isatty() and "NO_COLOR" not in os.environ and "utf" in (sys.stdout.encoding or "").lower()
    plain = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}
    coloured = {"ok": "\033[32m✓\033[0m", "note": "\033[33m–\033[0m", "wrong": "\033[31m✗\033[0m"}
    marks, lines, section = coloured if terminal else plain, list[str](), ""
    for check in checks:
        if check.section != section:
            section = check.section
            lines.append(section)
        lines.append(f"  {marks[check.status]} {check.text}")
    return "\n".join(lines)
