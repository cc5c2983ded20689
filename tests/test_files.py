"""MNIST, Fashion-MNIST and CIFAR-10 from tiny files in their formats."""

import gzip
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from experiments.data import dataset
from jasgd.problems import cifar10, digits, fashion_mnist, mnist

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 28, 28), np.uint8)
LABELS = np.array([3, 0, 9, 1, 1], np.uint8)
BATCHES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
ROWS = RNG.integers(0, 256, (6, 2, 3072), np.uint8)  # of each batch two images
CLASSES = np.arange(12).reshape(6, 2) % 10


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder, prefix="train", *, images=PIXELS, labels=LABELS, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((f"{prefix}-images-idx3-ubyte", idx(images)), (f"{prefix}-labels-idx1-ubyte", idx(labels))):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def pickled(rows, labels):
    """Opcode by opcode what Python 2 wrote: strings are bytes, and the flags of the dtype are numbers."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def number(value):
        return b"M" + struct.pack("<H", value)

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNN"
        + 2 * b"J\xff\xff\xff\xff"
        + b"K\x00tb"
    )
    content = b"T" + struct.pack("<I", rows.size) + rows.tobytes()
    state = b"(K\x01" + number(len(rows)) + number(3072) + b"\x86" + dtype + b"\x89" + content + b"tb"
    items = text(b"batch_label") + text(b"a batch") + text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + items + text(b"data") + array + state + b"u."


def binary(rows, labels):
    return np.column_stack([np.asarray(labels, np.uint8), rows]).tobytes()


def write_cifar(folder, layout):
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "tar":
        with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
            for name, rows, labels in zip(reversed(BATCHES), ROWS[::-1], CLASSES[::-1], strict=True):
                content = pickled(rows, labels)
                member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return
    write, end = {"python": (pickled, ""), "binary": (binary, ".bin")}[layout]
    for name, rows, labels in zip(BATCHES, ROWS, CLASSES, strict=True):
        (folder / f"{name}{end}").write_bytes(write(rows, labels))


# What is read.


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("load", "inner"), [(mnist, ""), (mnist, "MNIST/raw"), (fashion_mnist, ""), (fashion_mnist, "FashionMNIST/raw")]
)
def test_idx_files_are_read_where_people_keep_them(tmp_path, load, inner, packed):
    """Pixels over 255 and labels in their order, plain and packed, in the folder or as torchvision lays them out."""
    write_mnist(tmp_path / inner, packed=packed)
    data = load(tmp_path)
    assert (data.inputs.dtype, data.labels.dtype, data.inputs.shape) == (np.float32, np.int32, (5, 28, 28, 1))
    np.testing.assert_array_equal(data.inputs[..., 0], PIXELS.astype(np.float32) / 255)
    np.testing.assert_array_equal(data.labels, LABELS)


def test_the_splits_are_different_files(tmp_path):
    """The test images are in the files called t10k."""
    write_mnist(tmp_path)
    write_mnist(tmp_path, "t10k", images=PIXELS[:2], labels=LABELS[:2])
    assert (len(mnist(tmp_path).labels), len(mnist(str(tmp_path), split="test").labels)) == (5, 2)


def test_two_data_sets_below_one_folder_are_told_apart(tmp_path):
    """Each finds its own folder."""
    write_mnist(tmp_path / "MNIST" / "raw")
    write_mnist(tmp_path / "FashionMNIST" / "raw", labels=LABELS[::-1].copy())
    assert mnist(tmp_path).labels.tolist() == fashion_mnist(tmp_path).labels.tolist()[::-1]


@pytest.mark.parametrize(
    ("layout", "inner"),
    [
        ("python", ""),
        ("python", "cifar-10-batches-py"),
        ("binary", ""),
        ("binary", "cifar-10-batches-bin"),
        ("tar", ""),
    ],
)
def test_cifar_is_read_in_every_layout(tmp_path, layout, inner):
    """Five batches in their order for training; planes of red, green and blue become channels."""
    write_cifar(tmp_path / inner, layout)
    for split, rows, labels in (("train", ROWS[:5], CLASSES[:5]), ("test", ROWS[5:], CLASSES[5:])):
        data = cifar10(tmp_path, split=split)
        assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int32)
        assert data.inputs.shape == (2 * len(rows), 32, 32, 3)
        np.testing.assert_array_equal(data.labels, labels.ravel())
        red, green, blue = np.moveaxis(rows.reshape(-1, 3, 1024).astype(np.float32) / 255, 1, 0)
        for channel, plane in enumerate((red, green, blue)):
            np.testing.assert_array_equal(data.inputs[..., channel].reshape(-1, 1024), plane)
    assert data.inputs[0, 1, 2, 0] == np.float32(ROWS[5, 0, 34]) / 255  # second row, third column, red


def test_batches_that_newer_python_wrote_are_read(tmp_path):
    """Other names of the same functions of NumPy, and labels in an array."""
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": ROWS[5], "labels": CLASSES[5]}, protocol=4))
    assert cifar10(tmp_path, split="test").labels.tolist() == CLASSES[5].tolist()


def test_data_sets_by_name(tmp_path):
    """Each name is its data set; another one is refused with the names there are."""
    write_mnist(tmp_path / "MNIST" / "raw")
    write_mnist(tmp_path / "FashionMNIST" / "raw", labels=LABELS[::-1].copy())
    write_cifar(tmp_path, "binary")
    np.testing.assert_array_equal(dataset("digits", "").labels, digits().labels)
    assert dataset("mnist", str(tmp_path)).labels.tolist() == LABELS.tolist()
    assert dataset("fashion_mnist", str(tmp_path)).labels.tolist() == LABELS[::-1].tolist()
    assert dataset("cifar10", str(tmp_path)).labels.tolist() == CLASSES[:5].ravel().tolist()
    with pytest.raises(ValueError, match=r"no data set 'svhn'; there are digits, mnist, fashion_mnist and cifar10\."):
        dataset("svhn", "")


# What is refused.


@pytest.mark.parametrize("load", [mnist, fashion_mnist, cifar10])
def test_no_folder_no_files_and_no_such_split(tmp_path, load):
    """One sentence: the folder, the files that were looked for, the two splits."""
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; name the one that holds the files"):
        load(tmp_path / "nowhere")
    wanted = "data_batch_1" if load is cifar10 else "train-images-idx3-ubyte"
    with pytest.raises(FileNotFoundError, match=rf"none of {wanted}, .* is in {tmp_path}, .*; put the files of"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r'`split` must be "train" or "test", got \'training\'\.'):
        load(tmp_path, split="training")


def test_images_without_labels_are_refused(tmp_path):
    """The file that is missing is named."""
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"none of train-labels-idx1-ubyte, train-labels-idx1-ubyte\.gz is in"):
        mnist(tmp_path)


IMAGES = idx(PIXELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES[:-1], r"must have 3936 bytes by its header, got 3935; fetch it again"),
        (IMAGES + b"\0", r"must have 3936 bytes by its header, got 3937"),
        (IMAGES[:10], r"must hold arrays of shape \(28, 28\), its header says \(\)"),
        (b"", r"must begin with the bytes 00 00 08 03, got none;"),
        (idx(LABELS), r"must begin with the bytes 00 00 08 03, got 00 00 08 01; it is another file"),
        (idx(PIXELS[:, :20]), r"must hold arrays of shape \(28, 28\), its header says \(20, 28\)"),
        (idx(PIXELS[:4]), r"train-images and train-labels in .* must be as many, got 4 and 5"),
        (gzip.compress(IMAGES), r"must begin with the bytes 00 00 08 03, got 1f 8b"),
    ],
    ids=["truncated", "too long", "cut header", "empty", "labels", "other size", "other count", "packed"],
)
def test_damaged_and_foreign_images_are_refused(tmp_path, content, message):
    """What was expected, what came, what to do."""
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path)


@pytest.mark.parametrize("content", [gzip.compress(IMAGES)[:-20], IMAGES, b"", b"\x1f\x8b\x08" + bytes(40)])
def test_damaged_packed_files_are_refused(tmp_path, content):
    """Truncated, not packed at all, empty, packed nonsense."""
    write_mnist(tmp_path, packed=True)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz (cannot be unpacked .*; fetch it again|must begin)"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [(PIXELS[:1], np.array([10], np.uint8), "between 0 and 9, got 10 to 10"), (PIXELS[:0], LABELS[:0], "hold no images")],
)
def test_labels_of_another_data_set_are_refused(tmp_path, images, labels, message):
    """There are ten classes, and at least one image."""
    write_mnist(tmp_path, images=images, labels=labels)
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path)


@pytest.mark.parametrize("layout", ["python", "binary"])
def test_a_missing_batch_is_named(tmp_path, layout):
    """The other four are no training data."""
    write_cifar(tmp_path, layout)
    name = "data_batch_4" if layout == "python" else "data_batch_4.bin"
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing in {tmp_path}; put it beside the other files"):
        cifar10(tmp_path)


class Malicious:
    """Calls a function when it is read."""

    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickled(ROWS[0], CLASSES[0])[:3000], "is not a batch of CIFAR-10 .*truncated.*; fetch it again"),
        (b"", "is not a batch of CIFAR-10 .*EOFError"),
        (bytes(100), "is not a batch of CIFAR-10"),
        (pickle.dumps([1, 2]), "is not a batch of CIFAR-10"),
        (pickle.dumps({"data": Malicious(), "labels": [1]}), r"asks for posix\.mkdir, which no array needs"),
        (b"cbuiltins\neval\n(U\x011tR.", r"asks for (builtins|__builtin__)\.eval"),
        (
            pickled(ROWS[0], CLASSES[0][:1]),
            r"must hold M images of 3072 bytes and M labels, got uint8\[2, 3072\] and int64\[1\]",
        ),
        (pickle.dumps({"data": ROWS[0, :, :100], "labels": [1, 2]}, protocol=4), r"got uint8\[2, 100\]"),
    ],
    ids=["truncated", "empty", "zeros", "a list", "a call", "eval", "other count", "other size"],
)
def test_damaged_and_dangerous_batches_are_refused(tmp_path, monkeypatch, content, message):
    """Nothing in a pickle is called but what makes an array."""
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path, "python")
    (tmp_path / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=message) as found:
        cifar10(tmp_path)
    assert "data_batch_3" in str(found.value)
    assert not (tmp_path / "made-by-a-pickle").exists()


def test_truncated_binary_batches_are_refused(tmp_path):
    """Images are whole."""
    write_cifar(tmp_path, "binary")
    (tmp_path / "data_batch_2.bin").write_bytes(binary(ROWS[0], CLASSES[0])[:-1])
    with pytest.raises(ValueError, match=r"data_batch_2\.bin must consist of 3073 bytes per image, got 6145 bytes"):
        cifar10(tmp_path)


def test_damaged_and_incomplete_archives_are_refused(tmp_path):
    """The archive is named, and what is missing in it."""
    write_cifar(tmp_path, "tar")
    packed = tmp_path / "cifar-10-python.tar.gz"
    packed.write_bytes(packed.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz cannot be unpacked .*; fetch it again"):
        cifar10(tmp_path)
    with tarfile.open(packed, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("cifar-10-batches-py/readme.html"))
    with pytest.raises(FileNotFoundError, match=r"data_batch_1 is missing in .*cifar-10-python\.tar\.gz; fetch it again"):
        cifar10(tmp_path)
