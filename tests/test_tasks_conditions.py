"""Components and layouts as conditions; what answers are moved to, so that they keep to them."""

import numpy as np
import pytest
import torch
from PIL import Image

from predella.data.images import Source
from predella.errors import UserError
from predella.image import jpeg
from predella.image.color import lab_to_rgb, paled, rgb_to_lab
from predella.image.contract import quantize
from predella.image.fit import cut_square
from predella.image.jpeg import coefficients_of, encode, read_coefficients
from predella.image.resize import matrix, resize
from predella.tasks.base import Exact
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression, compress
from predella.tasks.layout import FACADES, Layout
from predella.tasks.pca import PrincipalComponents, load_components, principal_components, save_components
from predella.tasks.super_resolution import SuperResolution


def test_components_are_those_of_the_covariance():
    x = torch.randn(300, 1, 4, 5) @ torch.randn(5, 5)
    mean, components = principal_components(x, 3)
    rows = x.flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T))
    torch.testing.assert_close(mean.flatten().double(), rows.mean(0), atol=1e-6, rtol=0)
    overlap = (components.flatten(1).double() @ vectors.flip(1)[:, :3]).abs()
    torch.testing.assert_close(overlap, torch.eye(3), atol=1e-4, rtol=0)
    assert (values.flip(0)[:2] > values.flip(0)[1:3]).all()
    with pytest.raises(ValueError, match="more than 3 images, got 3"):
        principal_components(x[:3], 3)


def test_digits_from_their_components():
    task, x = PrincipalComponents(), torch.rand(5, 1, 28, 28) * 2 - 1
    condition = task(x).condition
    assert condition.shape == x.shape and task.residual(condition, x).max() < 1e-6
    other = torch.rand(5, 1, 28, 28) * 2 - 1
    assert task.residual(condition, other).min() > 0.01 and task.residual(condition, task.project(condition, other)).max() < 1e-6
    at = task.coordinates(x, 0, 12)
    torch.testing.assert_close(task.coordinates(condition, 0, 12), torch.cat([at[:, :10], torch.zeros(5, 2)], 1), atol=1e-4, rtol=0)
    mean, components = load_components("mnist")
    assert components.shape == (12, 1, 28, 28) and (mean[0, 0] + 1).abs().max() < 1e-4  # corners of digits are black
    with pytest.raises(ValueError, match=r"for images of \(1, 28, 28\), got \(1, 32, 32\)"):
        task(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="has 12 components, 13 were asked for"):
        PrincipalComponents(keep=13)(x)


def test_a_basis_of_ones_own(tmp_path):
    x = torch.rand(50, 3, 8, 8) * 2 - 1
    save_components(tmp_path / "b.npz", *principal_components(x.float(), 4))
    task = PrincipalComponents(keep=2, basis=str(tmp_path / "b.npz"))
    assert task.size == (8, 8) and task.residual(task(x).condition, x).max() < 1e-5
    np.savez(tmp_path / "bad.npz", mean=np.zeros((1, 2, 2)), components=np.ones((2, 1, 2, 2)))
    with pytest.raises(UserError, match="orthonormal"):
        load_components(str(tmp_path / "bad.npz"))
    with pytest.raises(UserError, match="is no file of components"):
        load_components(str(tmp_path / "none.npz"))


def painted(*classes, edge=8):
    colours = dict(FACADES)
    rows = [[int(colours[c][i : i + 2], 16) for i in (0, 2, 4)] for c in classes]
    values = torch.tensor(rows, dtype=torch.float64) / 127.5 - 1
    return values.T.view(1, 3, 1, -1).repeat_interleave(edge, -2).repeat_interleave(edge, -1)


def test_layouts_become_shares_of_classes():
    labels = painted("window", "facade", "door")  # 8 × 24
    pair = torch.cat([torch.rand(1, 3, 8, 24) * 2 - 1, labels], 1)
    batch = Layout(edge=4, shrink=4)(pair)
    assert batch.target.shape == (1, 3, 2, 6) and batch.condition.shape == (1, 12, 2, 6)
    names = [n for n, _ in FACADES]
    assert [names[i] for i in batch.condition[0, :, 0].argmax(0)] == ["window"] * 2 + ["facade"] * 2 + ["door"] * 2
    mixed = Layout(edge=2, shrink=16)(torch.cat([pair[..., :16], pair[..., :16]], -2)).condition
    assert mixed[0, names.index("window")].item() == pytest.approx(0.0) and mixed.add(1).sum().item() == pytest.approx(2.0)
    assert torch.equal(Layout(edge=8, shrink=1, encoding="colors")(pair).condition, labels)


@pytest.mark.parametrize("encoding", ["one_hot", "colors"])
def test_pictures_that_follow_their_layout(encoding):
    labels = painted("window", "facade", "door")
    task = Layout(edge=8, shrink=1, encoding=encoding)
    condition = task.encode(labels, (8, 24))
    flat = torch.cat([torch.full((1, 3, 8, 8), v) for v in (-0.5, 0.1, 0.8)], -1)
    assert task.residual(condition, flat).item() < 1e-6
    assert task.residual(condition, flat.transpose(-1, -2).reshape(1, 3, 8, 24)).item() > 0.05


def test_colours_between_two_classes_are_refused():
    """The jet palette, in which facades are drawn as well: its facade #0000ff is near the background #0000de."""
    task, labels = Layout(), painted("window", "facade", edge=20)
    task.check(labels + 10 / 127.5, "map.png")  # a little off is none the less clear
    labels[..., :20] = torch.tensor([0, 0, 255.0]).view(3, 1, 1) / 127.5 - 1
    with pytest.raises(UserError, match="47.5% of about #0000ff, which is no class but lies between background and facade; known are"):
        task.check(labels, "map.png")
    task.check(torch.nn.functional.interpolate(painted("window", "facade"), scale_factor=10, mode="bilinear"), "enlarged.png")


def test_a_drawing_is_taken_for_its_classes():
    labels = painted("window", "facade", "window", "door")
    assert Layout().shares(labels) == ([("window", 0.5), ("facade", 0.25), ("door", 0.25)], 0)
    labels[..., -1] = 1  # white is far from each class
    assert Layout().shares(labels)[1] == 1 / labels.shape[-1]


def test_unknown_classes_are_refused():
    task, labels = Layout(), painted("window", "facade", edge=20)
    noisy = (labels + 0.2 * torch.randn(labels.shape)).clamp(-1, 1)  # compression smears
    task.check(noisy, "map.png")
    labels[..., :5, :5] = 0.5
    with pytest.raises(UserError, match="the right half of picture 0"):
        task.check_pictures([torch.cat([labels, labels], 1)[0].add(1).mul(127.5).round().byte()])
    Layout(encoding="colors").check_pictures([torch.zeros(6, 40, 40, dtype=torch.uint8)])
    with pytest.raises(UserError, match=r"map.png has 2.0% of about #bfbfbf, which is no class; known are: background #0000de"):
        task.check(labels, "map.png")
    with pytest.raises(ValueError, match="6 channels, got 3"):
        task(torch.zeros(1, 3, 8, 8))


def test_colours_are_not_learned_from_grey_photos():
    grey, one = torch.full((3, 8, 8), 90, dtype=torch.uint8), torch.full((3, 8, 8), 90, dtype=torch.uint8)
    one[0, 3, 3] += 60
    Colorization().check_pictures([grey, one])
    with pytest.raises(UserError, match="all grey.*photos in colour"):
        Colorization().check_pictures([grey] * 100)


def test_pairs_are_cut_in_two(tmp_path):
    array = np.zeros((12, 40, 3), np.uint8)
    array[:, 20:] = 200
    Image.fromarray(array).save(tmp_path / "pair.png")
    Image.fromarray(array[:, :39]).save(tmp_path / "odd.png")
    images = Source(paths=(str(tmp_path),), paired=True, smallest=8).open()
    assert images[0].shape == (6, 12, 20) and images[0][:3].max() == 0 and images[0][3:].min() == 200
    assert images.skipped[0][0] == "odd.png" and "has an odd width" in images.skipped[0][1]


def test_resizing_is_its_matrix():
    x = torch.rand(1, 3, 24, 20)
    rows, columns = matrix(24, 6), matrix(20, 20)
    torch.testing.assert_close(rows @ x @ columns.T, resize(x, (6, 20)))


def test_answers_are_moved_to_their_condition():
    x, other = torch.rand(2, 3, 32, 32) * 1.2 - 0.6, torch.rand(2, 3, 32, 32) * 1.2 - 0.6
    small = SuperResolution(patch=4, scales=(8.0, 8.0))
    made = small.project(small(x).condition, other)
    torch.testing.assert_close(resize(made, (4, 4)), small(x).condition)
    grey = Colorization()
    made = grey.project(grey(x).condition, other)
    assert grey.residual(grey(x).condition, made).max() < 1e-5
    assert (rgb_to_lab(made)[:, 1:] - rgb_to_lab(other)[:, 1:]).abs().mean() < 10  # colours stay, where there are such
    assert all(isinstance(t, Exact) for t in (small, grey, Decompression(), PrincipalComponents())) and not isinstance(Layout(), Exact)


def test_pale_colours_are_in_reach():
    lab = torch.stack([torch.linspace(1, 99, 50), torch.linspace(-120, 120, 50), torch.linspace(110, -110, 50)]).view(1, 3, 5, 10)
    made = paled(lab)
    back = rgb_to_lab(lab_to_rgb(made))
    assert (back - made).abs().max() < 1e-2 and torch.equal(made[:, 0], lab[:, 0])
    inside = rgb_to_lab(torch.rand(1, 3, 8, 8) * 2 - 1)
    torch.testing.assert_close(paled(inside), inside, atol=1e-3, rtol=0)


def _ycc(rgb):
    return torch.einsum("ij,bjhw->bihw", torch.tensor(jpeg._TO_YCC), rgb)


@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_answers_are_moved_into_the_intervals_of_a_jpeg(quality):
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    photo = torch.stack([torch.sin(x / 9 + k) * torch.cos(y / 7) for k in range(3)])[None] * 0.6
    known = coefficients_of(encode(photo[0], quality))
    assert known.inside(quantize(photo)).item() > 0.95  # of the picture it was made from, up to rounding
    other = (photo + 0.3 * torch.randn(photo.shape)).clamp(-1, 1)
    assert known.inside(other).item() < known.inside(known.project(other)).item() > 0.999
    for height, width in ((40, 64), (41, 51), (33, 50)):  # blocks that reach over the border
        part = photo[..., :height, :width]
        known = coefficients_of(encode(part[0], quality))
        assert known.departure(quantize(part)).item() < 0.2, (height, width)
        for i, plane in enumerate(known.planes):  # the mean of a block, of luma and of both colours
            found = known._found(_ycc(quantize(part))[:, i : i + 1], plane)[0, ..., 0, 0]
            assert ((found - plane.levels[..., 0, 0] * plane.steps[0, 0]).abs() <= plane.steps[0, 0] / 2 + 3).all(), (i, height, width)
        cut = other[..., :height, :width]
        for _ in range(50):
            cut = known.project(cut).clamp(-1, 1)
        assert known.inside(cut).item() > (0.99 if quality < 90 else 0.96)  # fine steps settle slowly at borders
    task = Decompression(quality=quality)
    made = task.project(task(photo).condition, other)
    assert task.residual(compress(photo, quality), made).item() < 0.75 * task.residual(compress(photo, quality), other).item()


def test_jpegs_that_say_nothing_to_keep(tmp_path):
    picture = Image.new("RGB", (20, 10), "red")
    picture.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.convert("CMYK").save(tmp_path / "inks.jpg")
    for name, says in {
        "a.png": "no grey or YCbCr JPEG",
        "turned.jpg": "stored turned",
        "inks.jpg": "4 components",
        "x.jpg": "can't",
    }.items():
        with pytest.raises(UserError, match=says):
            read_coefficients(tmp_path / name)
    picture.save(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match="20×10 pixels, got 8×8"):
        read_coefficients(tmp_path / "b.jpg").project(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrincipalComponents(keep=0), "at least 1 component"),
        (lambda: Layout(edge=1), "at least 2"),
        (lambda: Layout(classes=(("a", "red"), ("b", "0000ff"))), "six hex digits"),
    ],
)
def test_wrong_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_square_is_cut_without_resampling():
    x = torch.arange(35.0).view(1, 1, 5, 7)
    torch.testing.assert_close(cut_square(x, 3), x[..., 1:4, 2:5])
    with pytest.raises(ValueError, match="7×5 is smaller than 6 pixels"):
        cut_square(x, 6)
