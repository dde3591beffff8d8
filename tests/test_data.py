"""Sources and batches: everything usable is found, everything else named, and a step sees what (seed, step) say."""

import logging
import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from conftest import picture
from predella.data.batches import Augment, Batches
from predella.data.images import Source
from predella.data.named import NAMED, fetch
from predella.errors import UserError
from predella.image.files import read
from predella.tasks.base import Batch
from predella.tasks.internal import Internal
from predella.tasks.masking import Masking
from predella.tasks.super_resolution import SuperResolution


@pytest.fixture
def folder(tmp_path):
    """Three good pictures and one of each kind of unusable file."""
    place = tmp_path / "pictures"
    (place / "deep").mkdir(parents=True)
    for k, name in enumerate(["a.png", "b.jpg", "deep/c.webp"]):
        Image.fromarray(picture(40 + k, 48, k)).save(place / name)
    whole = (place / "b.jpg").read_bytes()
    (place / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (place / "notes.txt").write_text("no picture")
    Image.fromarray(picture(8, 8)).save(place / "tiny.png")
    frames = [Image.fromarray(picture(40, 40, k)) for k in range(3)]
    frames[0].save(place / "moving.gif", save_all=True, append_images=frames[1:])
    (place / ".hidden.png").write_bytes(b"x")
    return place


def test_long_reading_is_told(folder, caplog, monkeypatch):
    monkeypatch.setattr("predella.data.images.SILENCE", 0.0)
    with caplog.at_level(logging.INFO):
        Source(paths=(str(folder),), smallest=32).open()
    assert "reading pictures: 1 so far" in caplog.text


def test_unusable_files_are_skipped_counted_and_named(folder, caplog):
    with caplog.at_level(logging.WARNING):
        images = Source(paths=(str(folder),)).open()
    assert images.names == ["a.png", "b.jpg", "deep/c.webp"]
    assert [n for n, _ in images.skipped] == ["broken.jpg", "moving.gif", "notes.txt", "tiny.png"]
    assert "skipped 4 of 7 files" in caplog.text and "smaller than 32" in caplog.text and "animated" in caplog.text


def test_nothing_usable_is_an_error(folder, tmp_path):
    with pytest.raises(UserError, match=r"no usable picture among 7 files"):
        Source(paths=(str(folder),), smallest=10_000).open()
    with pytest.raises(UserError, match="does not exist"):
        Source(paths=(str(tmp_path / "nowhere"),)).open()


def test_zip_npz_list_and_single_file_hold_the_same_pictures(folder, tmp_path):
    plain = Source(paths=(str(folder / "a.png"),)).open()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(folder / "a.png", "inside/a.png")
        archive.writestr("__MACOSX/a.png", b"junk")
    np.savez(tmp_path / "x.npz", images=np.asarray(Image.open(folder / "a.png"))[None])
    (folder / "list.txt").write_text("a.png\n\n")
    for path in (tmp_path / "x.zip", tmp_path / "x.npz", folder / "list.txt"):
        found = Source(paths=(str(path),)).open()
        assert len(found) == 1 and torch.equal(found[0], plain[0]), path


def test_sixteen_bits_and_transparency_are_converted(tmp_path):
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save(tmp_path / "g.png")
    array = np.dstack([picture(40, 40), np.zeros((40, 40), np.uint8)])
    Image.fromarray(array).save(tmp_path / "t.png")
    images = Source(paths=(str(tmp_path),)).open()
    assert torch.equal(images[0][0], torch.from_numpy((np.arange(1600).reshape(40, 40) * 40 / 257).round().astype(np.uint8)))
    assert (images[1] == 255).all()  # what is transparent shows white, not its hidden colour


def test_one_large_picture_does_not_end_the_caching(tmp_path):
    Image.fromarray(picture(800, 800)).save(tmp_path / "a.png")
    Image.fromarray(picture(40, 40)).save(tmp_path / "b.png")
    images = Source(paths=(str(tmp_path),), memory_mb=1).open()
    assert callable(images._kept[0]) and isinstance(images._kept[1], torch.Tensor)


def test_what_neither_reader_takes(tmp_path):
    """Training and the other verbs refuse the same files."""
    Image.fromarray(np.full((40, 40), 0.5, np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((40, 40), 70_000, np.int32)).save(tmp_path / "int.tif")
    for name, why in (("float.tif", "floating-point"), ("int.tif", "32-bit integers")):
        with pytest.raises(UserError, match=why):
            Source(paths=(str(tmp_path / name),)).open()
        with pytest.raises(UserError, match=why):
            read(tmp_path / name)


def test_of_several_processes_one_fetches(tmp_path, monkeypatch):
    """The others wait, and find what it has unpacked."""
    archive = tmp_path / "cache" / "set.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("Set/a.png", b"x" * 5_000_000)
    at_once, most = 0, []

    def retrieve(*_, **__):
        nonlocal at_once
        at_once += 1
        most.append(at_once)
        time.sleep(0.05)
        at_once -= 1
        return str(archive)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setitem(NAMED, "Set", replace(NAMED["DIV2K"], url="https://example.org/set.zip", files=(), page="", member="Set"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch("Set"), range(4)))
    assert len(set(found)) == 1 and (found[0] / "a.png").stat().st_size == 5_000_000 and most == [1] * 4


def test_a_pickled_npz_is_not_read(tmp_path):
    np.savez(tmp_path / "evil.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="plain arrays"):
        Source(paths=(str(tmp_path / "evil.npz"),)).open()


def test_builtin_sets_need_no_download():
    photos = Source(paths=("photos",)).open()
    assert len(photos) == 11 and all(p.dtype == torch.uint8 and p.shape[0] == 3 for p in (photos[i] for i in range(11)))
    digits = Source(paths=("digits",), channels=1, smallest=8).open()
    assert len(digits) == 1797 and digits[0].shape == (1, 8, 8)


def test_what_does_not_fit_in_memory_is_decoded_when_needed(folder):
    kept, lazy = (Source(paths=(str(folder),), memory_mb=mb).open() for mb in (100, 0))
    assert all(callable(entry) for entry in lazy._kept)
    assert all(torch.equal(kept[i], lazy[i]) for i in range(len(kept)))


def test_a_named_set_offline_says_the_remedy(monkeypatch):
    import pooch

    def offline(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(UserError, match=r"DIV2K could not be fetched.*--data PATH"):
        Source(paths=("DIV2K",)).open()
    with pytest.raises(UserError, match="by hand"):
        Source(paths=("CelebA",)).open()
    assert {"DIV2K", "Set5", "Set14", "B100", "Urban100", "MNIST", "CIFAR-10", "CelebA"} <= NAMED.keys()


def test_a_wrong_checksum_is_refused(monkeypatch):
    import pooch

    def changed(*_, **__):
        raise ValueError("SHA256 hash of downloaded file does not match")

    monkeypatch.setattr(pooch, "retrieve", changed)
    with pytest.raises(UserError, match="wrong checksum"):
        Source(paths=("Set5",)).open()


TASK = SuperResolution(patch=8)


def batches(folder, **change):
    arguments = {"batch_size": 4, "augment": Augment(shrink=2.0), "seed": 3, **change}
    return Batches(Source(paths=(str(folder),)).open(), TASK, **arguments)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.target, b.target) and torch.equal(a.condition, b.condition) and a.seed == b.seed


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_step_is_a_function_of_seed_and_number(folder, workers):
    straight = batches(folder, workers=workers).since(0)
    first = [next(straight) for _ in range(6)]
    resumed = batches(folder, workers=workers).since(3)
    assert all(same(a, next(resumed)) for a in first[3:])
    assert not same(first[0], batches(folder, seed=4)(0))
    assert not same(first[0], first[1])


def test_two_processes_see_the_halves_of_one(folder):
    whole = batches(folder)(5)
    halves = [batches(folder, rank=r, world=2)(5) for r in (0, 1)]
    assert torch.equal(torch.cat([h.target for h in halves]), whole.target)
    assert torch.equal(torch.cat([h.condition for h in halves]), whole.condition)
    assert halves[0].seed == halves[1].seed == whole.seed
    with pytest.raises(ValueError, match="multiple of the 3 processes"):
        batches(folder, world=3)


def test_every_picture_comes_once_an_epoch(folder):
    stream = batches(folder)
    order = [int(stream._permutation(n // 3)[n % 3]) for n in range(9)]
    assert all(sorted(order[k : k + 3]) == [0, 1, 2] for k in (0, 3, 6))


def test_scales_are_drawn_in_range_and_the_crop_follows(folder):
    sizes = [batches(folder)(k).target.shape[-1] for k in range(40)]
    assert min(sizes) >= round(8 * 1.2) and max(sizes) <= 32 and len(set(sizes)) > 8
    fixed = SuperResolution(patch=8, choices=(2.0, 3.0))
    assert {fixed.crop(torch.Generator().manual_seed(k)) for k in range(20)} == {16, 24}


def test_augmentation_keeps_range_and_can_be_off(folder):
    plain = Batches(Source(paths=(str(folder),)).open(), SuperResolution(patch=8, scales=(4.0, 4.0)), 6, Augment(flip=False, rotate=False))
    image = Source(paths=(str(folder),)).open()
    target = (plain(0).target * 127.5 + 127.5).round()
    found = [
        any((image[i].unfold(1, 32, 1).unfold(2, 32, 1) == t[:, None, None]).all(-1).all(-1).all(0).any() for i in range(3)) for t in target
    ]
    assert all(found)  # every crop is a part of a picture
    assert batches(folder)(0).target.abs().max() <= 1


def test_pictures_are_mirrored_and_turned_alike_often(tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(picture(32, 32)).save(path)
    images, task = Source(paths=(str(path),)).open(), SuperResolution(patch=32, scales=(1.0, 1.0))
    ways = [torch.rot90(one, k, (-2, -1)) for one in (images[0], images[0].flip(-1)) for k in range(4)]

    def shares(**augment):
        target = (Batches(images, task, 400, Augment(shrink=1.0, **augment), seed=1)(0).target * 127.5 + 127.5).round()
        return torch.tensor([(target == way).flatten(1).all(1).double().mean() for way in ways])

    both = shares(flip=True, rotate=True)
    assert both.sum() == 1 and (both - 1 / 8).abs().max() < 0.06
    assert shares(flip=True, rotate=False)[[0, 4]].sub(0.5).abs().max() < 0.08
    assert shares(flip=False, rotate=True)[:4].sub(0.25).abs().max() < 0.08


def test_a_share_of_the_crops_is_made_smaller(tmp_path):
    """A slope is steeper where more of it is shown."""
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None], (128, 128, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    images, task = Source(paths=(str(tmp_path),)).open(), SuperResolution(patch=16, scales=(1.0, 1.0))
    augment = Augment(flip=False, rotate=False, shrink=2.0, shrink_probability=0.3)
    target = Batches(images, task, 400, augment, seed=1)(0).target * 127.5
    slope = (target[:, 0, 8, 12] - target[:, 0, 8, 4]) / 8
    assert 0.22 < (slope > 1.02).double().mean() < 0.38 and 1.8 < slope.max() <= 2.02 and slope.min() > 0.98


def test_the_square_is_cut_from_the_middle(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (Source(paths=(str(tmp_path),), edge=8, smallest=8).open()[0] == 200).all()


def test_super_resolution_keeps_its_condition():
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    batch = TASK(x)
    assert batch.condition.shape == (2, 3, 8, 8)
    assert TASK.residual(batch.condition, x).max() == 0
    assert TASK.residual(batch.condition, -x).min() > 0.1


def test_preparing_ahead_leaves_the_processors_to_training():
    code = """
import torch
from predella.data.batches import Augment, Batches
from predella.tasks.internal import Internal
seen = []
class Task(Internal):
    def __call__(self, image, seeds=None):
        seen.append(torch.get_num_threads())
        return super().__call__(image, seeds)
class Images(list):
    labels, sizes = None, [(16, 16)]
images = Images([torch.zeros(3, 16, 16, dtype=torch.uint8)])
next(Batches(images, Task(), 1, Augment(flip=False, rotate=False), workers=1).since(0))
assert (seen[0], torch.get_num_threads()) == (1, 2), (seen, torch.get_num_threads())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stderr


def test_masking_keeps_its_condition_and_draws_by_seed():
    task = Masking(edge=48)
    x, seeds = torch.rand(3, 3, 48, 48) * 2 - 1, torch.tensor([1, 2, 3])
    batch = task(x, seeds)
    known = batch.condition[:, 3:]
    assert batch.condition.shape == (3, 4, 48, 48) and set(known.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(batch.condition[:, :3], x * known)
    assert ((1 - known).flatten(1).mean(1) >= 0.05).all() and ((1 - known).flatten(1).mean(1) < 0.6).all()
    assert task.residual(batch.condition, x).max() == 0
    assert task.residual(batch.condition, x + 0.1).min() > 0.05
    assert torch.equal(task(x[1:], seeds[1:]).condition, batch.condition[1:])
    with pytest.raises(ValueError, match="seeds"):
        task(x)


def test_whole_pictures_come_in_batches_of_one_size_and_every_one_once_an_epoch(tmp_path):
    heights = [40, 41, 43, 47, 40, 33, 64, 39, 46, 40, 45, 50]
    for i, h in enumerate(heights):
        values = np.full((h, 64, 3), 10 * i, np.uint8)
        values[-1] = 255
        Image.fromarray(values).save(tmp_path / f"{i:02}.png")
    images = Source(paths=(str(tmp_path),)).open()
    assert images.sizes == [(h, 64) for h in heights]
    data = Batches(images, Internal(), 4, Augment(flip=False, rotate=False, snap=8), seed=1)
    assert [data._snapped(h, w) for h, w in ((47, 64), (64, 47), (64, 64), (5, 9))] == [(40, 64), (64, 40), (64, 64), (5, 9)]
    tops = set()
    for epoch in range(20):
        made = [data(3 * epoch + k) for k in range(3)]
        seen = [round(float((v + 1) * 12.75)) for b in made for v in b.target[:, 0, 0, 0]]
        assert sorted(seen) == list(range(12))
        assert sum(len(set(b.sizes)) == 1 for b in made) == 2  # eight of 40, two of 32, one each of 48 and 64
        assert {size for b in made for size in b.sizes} == {(40, 64), (32, 64), (48, 64), (64, 64)}
        for batch in made:
            for picture_, (height, _) in zip(batch.target, batch.sizes, strict=True):
                if round(float((picture_[0, 0, 0] + 1) * 12.75)) == 3:
                    tops.add(bool(picture_[0, height - 1, 0] == 1))
    assert tops == {True, False}  # the picture of 47 rows, with its last and without
    assert torch.equal(data(2).target, data(2).target)
    by_three = Batches(images, Internal(), 5, Augment(flip=False, rotate=False, snap=8), seed=1)  # an epoch ends within a batch
    assert all(sum(len(set(by_three(k).sizes)) == 1 for k in range(12 * e // 5, 12 * (e + 1) // 5)) >= 1 for e in range(10))
    order = torch.cat([by_three(k).target[:, 0, 0, 0] for k in range(12)]).view(5, 12)
    assert all(sorted(row.tolist()) == sorted(order[0].tolist()) for row in order)
    plain = Batches(images, Internal(), 4, Augment(flip=False, rotate=False), seed=1)
    assert {size[0] for k in range(3) for size in plain(k).sizes} == set(heights)
    with pytest.raises(ValueError, match="snap must be at least 1, got 0"):
        Augment(snap=0)
