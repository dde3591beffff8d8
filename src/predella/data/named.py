"""Public sets by name: official addresses and checksums, fetched once by pooch; offline, one line with the remedy."""

import gzip
import logging
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from predella.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Named:
    """One public set.

    Attributes:
        url: its official address.
        checksum: `algorithm:digest` of the file, or a tuple of them for several files below `url`.
        files: their names, if several.
        member: the folder inside the archive that holds the pictures, or the loader's name.
        page: where a person can get it, when no program may.
    """

    url: str
    checksum: str | tuple[str, ...]
    files: tuple[str, ...] = ()
    member: str = ""
    page: str = ""


_BENCHMARK = "https://cv.snu.ac.kr/research/EDSR/benchmark.tar"
_BENCHMARK_SUM = "md5:4ace41d33c2384b97e6b320cd0afd6ba"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"

NAMED: dict[str, Named] = {
    "DIV2K": Named(
        _DIV2K + "DIV2K_train_HR.zip",
        "sha256:9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
        member="DIV2K_train_HR",
    ),
    "DIV2K-valid": Named(
        _DIV2K + "DIV2K_valid_HR.zip",
        "sha256:20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
        member="DIV2K_valid_HR",
    ),
    "Set5": Named(_BENCHMARK, _BENCHMARK_SUM, member="benchmark/Set5/HR"),
    "Set14": Named(_BENCHMARK, _BENCHMARK_SUM, member="benchmark/Set14/HR"),
    "B100": Named(_BENCHMARK, _BENCHMARK_SUM, member="benchmark/B100/HR"),
    "Urban100": Named(_BENCHMARK, _BENCHMARK_SUM, member="benchmark/Urban100/HR"),
    "MNIST": Named(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "md5:9fb629c4189551a2d022fa330f9573f3",
            "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "md5:ec29112dd5afa0611ce80d1b7f02629c",
        ),
        files=("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        member="mnist",
    ),
    "CIFAR-10": Named("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530", member="cifar10"),
    "CelebA": Named("", "", page="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"),
}


def fetch(name: str) -> Path:
    """A local folder or npz of the named set, fetched and unpacked at the first call.

    Raises:
        UserError: no connection, a wrong checksum, or a set that only a person may download; with the remedy.
    """
    import pooch

    named = NAMED[name]
    if named.page:
        raise UserError(f"{name} may only be downloaded by hand, from {named.page}; then pass the archive with --data PATH")
    cache = Path(pooch.os_cache("predella"))
    lock = FileLock(cache / f"{name}.lock")  # of several processes one fetches, the others find what it has
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # a place that can only be read may hold the set
        return _fetched(name, named, cache)
    try:
        return _fetched(name, named, cache)
    finally:
        lock.release()


def _fetched(name: str, named: Named, cache: Path) -> Path:
    import pooch

    logging.getLogger("pooch").setLevel(logging.ERROR)
    urls = [named.url + f for f in named.files] or [named.url]
    sums = named.checksum if isinstance(named.checksum, tuple) else (named.checksum,)
    log.info("%s: looking for it in %s, else fetching it from %s", name, cache, urls[0])
    try:
        found = [Path(pooch.retrieve(u, s, fname=u.rsplit("/", 1)[-1], path=cache, progressbar=False)) for u, s in zip(urls, sums)]
    except ValueError as error:
        raise UserError(f"{name}: {urls[0]} came with a wrong checksum ({error}); fetch it by hand and pass --data PATH") from None
    except Exception as error:
        why = type(error).__name__
        raise UserError(f"{name} could not be fetched from {urls[0]} ({why}); if you have it, pass its place with --data PATH") from None
    if named.member == "mnist":
        return _save_npz(cache / "mnist-classes.npz", [_read_idx(f) for f in found])
    if named.member == "cifar10":
        return _save_npz(cache / "cifar10-classes.npz", _read_cifar(found[0]))
    return _unpack(found[0], cache / found[0].stem, named.member)


def _unpack(archive: Path, folder: Path, member: str) -> Path:
    """The folder `member` of the archive; it appears whole or not at all."""
    place = folder / member
    if not place.exists():
        log.info("unpacking %s", archive.name)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            if archive.suffix == ".zip":
                with zipfile.ZipFile(archive) as z:
                    z.extractall(part, [n for n in z.namelist() if n.startswith(member)])
            else:
                with tarfile.open(archive) as t:
                    t.extractall(part, [m for m in t.getmembers() if m.name.startswith(member)], filter="data")
            place.parent.mkdir(parents=True, exist_ok=True)
            (Path(part) / member).rename(place)
    return place


def _read_idx(file: Path) -> np.ndarray:
    """The idx format of MNIST: two zero bytes, type (8 = bytes), rank, the sizes as big-endian 32-bit integers, then bytes."""
    raw = gzip.decompress(file.read_bytes())
    rank = raw[3]
    sizes = [int.from_bytes(raw[i : i + 4], "big") for i in range(4, 4 + 4 * rank, 4)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def _read_cifar(file: Path) -> list[np.ndarray]:
    """Records of one label byte and 3 × 32 × 32 image bytes; five training files, one test file. Images, then classes."""
    stacks, classes = [], []
    with tarfile.open(file) as archive:
        for names in ([f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]):
            raw = b"".join(_member(archive, f"cifar-10-batches-bin/{n}") for n in names)
            records = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
            stacks.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            classes.append(records[:, 0].copy())
    return stacks + classes


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None, f"{name} is no file"
    return stream.read()


def _save_npz(file: Path, stacks: list[np.ndarray]) -> Path:
    """stacks: training images, test images, training classes, test classes."""
    if not file.exists():
        from predella.atomic import atomic_write

        with atomic_write(file) as stream:
            np.savez_compressed(stream, x_train=stacks[0], x_test=stacks[1], y_train=stacks[2], y_test=stacks[3])
    return file
