"""MNIST, Fashion-MNIST and CIFAR-10 from their standard files, which the user has; nothing is downloaded.

LeCun, Bottou, Bengio, Haffner 1998: Gradient-based learning applied to document recognition.
Xiao, Rasul, Vollgraf 2017: Fashion-MNIST, https://arxiv.org/abs/1708.07747.
Krizhevsky 2009: Learning multiple layers of features from tiny images, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import gzip
import io
import math
import os
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jasgd.problems.classification import Dataset

Split = Literal["train", "test"]


def mnist(folder: str | os.PathLike[str], *, split: Split = "train") -> Dataset:
    """Handwritten digits, 28 x 28 x 1 pixels in [0, 1], in the order of the files.

    Args:
      folder: where ``train-images-idx3-ubyte`` and the like are, with or without ``.gz``; or the folder above
        ``MNIST/raw``, where torchvision puts them.
      split: "train", 60,000 images, or "test", 10,000.

    Example:
      >>> images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28, *[255] * 2 * 28 * 28])
      >>> labels = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3])
      >>> with open(tmp_path / "train-images-idx3-ubyte", "wb") as file: _ = file.write(images)
      >>> with open(tmp_path / "train-labels-idx1-ubyte", "wb") as file: _ = file.write(labels)
      >>> data = jasgd.problems.mnist(tmp_path)
      >>> data.inputs.shape, float(data.inputs.max()), data.labels.tolist()
      ((2, 28, 28, 1), 1.0, [7, 3])
    """
    return _idx(Path(folder), "MNIST", split)


def fashion_mnist(folder: str | os.PathLike[str], *, split: Split = "train") -> Dataset:
    """Clothes, in files like those of MNIST, which are also looked for in ``FashionMNIST/raw``.

    Example:
      >>> images = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28, *[0] * 28 * 28])
      >>> labels = bytes([0, 0, 8, 1, 0, 0, 0, 1, 9])
      >>> with open(tmp_path / "t10k-images-idx3-ubyte", "wb") as file: _ = file.write(images)
      >>> with open(tmp_path / "t10k-labels-idx1-ubyte", "wb") as file: _ = file.write(labels)
      >>> jasgd.problems.fashion_mnist(tmp_path, split="test").labels.tolist()
      [9]
    """
    return _idx(Path(folder), "FashionMNIST", split)


def cifar10(folder: str | os.PathLike[str], *, split: Split = "train") -> Dataset:
    """Photographs of ten classes, 32 x 32 x 3 pixels in [0, 1], in the order of the files.

    Args:
      folder: where ``cifar-10-batches-py``, ``cifar-10-batches-bin`` or ``cifar-10-python.tar.gz`` is, or one of the first
        two itself.
      split: "train", 50,000 images, or "test", 10,000.

    Example:
      >>> with open(tmp_path / "test_batch.bin", "wb") as file: _ = file.write(bytes([6, *[255] * 3072]))
      >>> data = jasgd.problems.cifar10(tmp_path, split="test")
      >>> data.inputs.shape, data.labels.tolist()
      ((1, 32, 32, 3), [6])
    """
    folder = Path(folder)
    names = [f"data_batch_{i}" for i in range(1, 6)] if _checked(folder, split) == "train" else ["test_batch"]
    places = [folder, *(folder / inner for inner in ("cifar-10-batches-py", "cifar-10-batches-bin"))]
    packed = folder / "cifar-10-python.tar.gz"
    for place in places:
        if any((place / name).is_file() for name in names):
            parts = [_pickled(_present(place / name)) for name in names]
            break
        if any((place / f"{name}.bin").is_file() for name in names):
            parts = [_binary(_present(place / f"{name}.bin")) for name in names]
            break
    else:
        if not packed.is_file():
            raise _nowhere("CIFAR-10", [names[0], f"{names[0]}.bin", packed.name], places)
        parts = _unpacked(packed, names)
    rows, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _dataset(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels, str(folder))


def _dataset(pixels: np.ndarray, labels: np.ndarray, where: str) -> Dataset:
    if not len(labels):
        raise ValueError(f"the files in {where} hold no images; fetch them again.")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(
            f"labels must lie between 0 and 9, got {labels.min()} to {labels.max()} in {where}; this is another data set."
        )
    return Dataset(pixels / np.float32(255), labels.astype(np.int32))


def _checked(folder: Path, split: str) -> str:
    if split not in ("train", "test"):
        raise ValueError(f'`split` must be "train" or "test", got {split!r}.')
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; name the one that holds the files, which are not downloaded.")
    return split


def _present(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing in {path.parent}; put it beside the other files.")
    return path


def _nowhere(what: str, names: Sequence[str], places: Sequence[Path]) -> FileNotFoundError:
    return FileNotFoundError(
        f"none of {', '.join(names)} is in {', '.join(map(str, places))}; put the files of {what} there, or name the folder "
        "that holds them."
    )


def _idx(folder: Path, name: str, split: str) -> Dataset:
    prefix = "train" if _checked(folder, split) == "train" else "t10k"
    images = _idx_file(folder, name, f"{prefix}-images-idx3-ubyte", (28, 28))
    labels = _idx_file(folder, name, f"{prefix}-labels-idx1-ubyte", ())
    if len(images) != len(labels):
        raise ValueError(
            f"{prefix}-images and {prefix}-labels in {folder} must be as many, got {len(images)} and {len(labels)}; "
            "fetch them again."
        )
    return _dataset(images[..., None], labels, str(folder))


def _idx_file(folder: Path, name: str, wanted: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes (M, *shape). The file: 0, 0, 8 for bytes, how many axes, their lengths in 4 bytes each, the numbers."""
    places = [folder, folder / "raw", folder / name / "raw", folder / name]
    files = [place / file for place in places for file in (wanted, f"{wanted}.gz")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise _nowhere(name, [wanted, f"{wanted}.gz"], places)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except Exception as error:  # zlib, gzip and the end of the file have their own
        raise ValueError(f"{path} cannot be unpacked ({error}); fetch it again.") from error
    axes = 1 + len(shape)
    magic, start = bytes([0, 0, 8, axes]), 4 + 4 * axes
    if content[:4] != magic:
        raise ValueError(
            f"{path} must begin with the bytes {magic.hex(' ')}, got {content[:4].hex(' ') or 'none'}; it is another file."
        )
    lengths = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else ()
    if lengths[1:] != shape or not lengths:
        raise ValueError(f"{path} must hold arrays of shape {shape}, its header says {lengths[1:]}; it is another file.")
    expected = start + math.prod(lengths)
    if len(content) != expected:
        raise ValueError(f"{path} must have {expected} bytes by its header, got {len(content)}; fetch it again.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(lengths)


def _binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Per image one byte for the label and 3072 for red, green and blue."""
    content = path.read_bytes()
    if len(content) % 3073:
        raise ValueError(f"{path} must consist of 3073 bytes per image, got {len(content)} bytes; fetch it again.")
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return records[:, 1:], records[:, 0]


def _pickled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return _batch(path.read_bytes(), str(path))


def _unpacked(packed: Path, names: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    found: dict[str, Any] = {}
    try:
        with tarfile.open(packed) as archive:
            for member in archive:
                inside = archive.extractfile(member) if Path(member.name).name in names else None
                if inside is not None:
                    found[Path(member.name).name] = inside.read()
    except Exception as error:  # tarfile, zlib, gzip and the end of the file have their own
        raise ValueError(f"{packed} cannot be unpacked ({error}); fetch it again.") from error
    if missing := [name for name in names if name not in found]:
        raise FileNotFoundError(f"{missing[0]} is missing in {packed}; fetch it again.")
    return [_batch(found[name], f"{packed}: {name}") for name in names]


def _batch(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (M, 3072) and labels (M,) of a pickle with ``data`` and ``labels``."""
    try:
        # Written by Python 2: its strings are bytes, which NumPy takes back from latin1.
        batch = _OnlyArrays(io.BytesIO(content), encoding="latin1").load()
        rows, labels = np.asarray(batch["data"]), np.asarray(batch["labels"])
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"{where} is not a batch of CIFAR-10 ({error!r}); fetch it again.") from error
    if (
        rows.dtype != np.uint8
        or rows.shape != (*labels.shape[:1], 3072)
        or labels.ndim != 1
        or labels.dtype.kind not in "iu"
    ):
        raise ValueError(
            f"{where} must hold M images of 3072 bytes and M labels, got {rows.dtype}{list(rows.shape)} and "
            f"{labels.dtype}{list(labels.shape)}; fetch it again."
        )
    return rows, labels


class _OnlyArrays(pickle.Unpickler):
    """Refuses whatever is not a plain NumPy array: a pickle can call any function there is."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return np.empty(0).__reduce__()[0]
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return _dtype
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")


def _dtype(name: str, align: int, copy: int) -> np.dtype[Any]:
    """As Python 2 asked for it: newer NumPy takes no numbers for flags."""
    return np.dtype(name, align=bool(align), copy=bool(copy))
