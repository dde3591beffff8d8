"""The model: one function however it is asked, exact derivatives, closed-form blur."""

import pytest
import torch

from predella.image.coords import grid
from predella.image.resize import resize
from predella.models.functional_image import CellFields, FunctionalImage, FunctionalImageConfig
from predella.models.functional_patches import PatchNetworks
from predella.models.functional_whole import WholeNetworks
from predella.objectives.functional_image import FunctionalImageObjective, _offset, pixels_in_cells
from predella.tasks.base import Batch

GRAINS = {
    "cells": CellFields(width=8, blocks=1, hidden=6),
    "unet": CellFields(width=4, blocks=2, hidden=4, encoder="unet"),
    "patches": PatchNetworks(patch=6, stride=3, width=6, target=(6, 8, 8, 6)),
    "patches, normed": PatchNetworks(patch=6, stride=3, width=6, target=(6, 8, 8, 6), norm="per_image"),
}


def make(name, mask=False):
    return FunctionalImage(FunctionalImageConfig(field=GRAINS[name], mask=mask)).double().eval()


def image(h=11, w=13, b=2):
    return torch.rand(b, 3, h, w) * 2 - 1


@pytest.mark.parametrize("name", GRAINS)
@pytest.mark.parametrize("size", [(22, 26), (27, 31), (11, 40)])
def test_render_is_query_on_the_grid(name, size):
    model, x = make(name), image()
    theta = model.weights(x)
    scale = (size[0] / 11, size[1] / 13)
    asked = model.query(theta, grid(*size, dtype=torch.float64), scale)
    assert torch.allclose(model.render(theta, size), asked.transpose(1, 2).view(2, 3, *size), atol=1e-10)


@pytest.mark.parametrize("name", [*GRAINS, "whole"])
def test_mixed_precision_leaves_functions_exact(name):
    field = WholeNetworks(edge=16, width=4, embedding=16, target=(12, 12)) if name == "whole" else GRAINS[name]
    model, x = FunctionalImage(FunctionalImageConfig(field=field)).float().eval(), image().float()
    theta, coords = model.weights(x), grid(7, 9, dtype=torch.float32)
    asks = [lambda: model.render(theta, (22, 26)), lambda: model.query(weights=theta, coords=coords),
            lambda: model.query(theta, coords, derivatives=1)[1]]  # fmt: skip
    if isinstance(field, CellFields):
        offset = torch.rand(*model.paint.cells(theta), 5, 2) - 0.5
        asks.append(lambda: model.paint.query_cells(theta, offset.float(), (2.0, 2.0)))
    wanted = [ask() for ask in asks]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for ask, want in zip(asks, wanted, strict=True):
            assert torch.equal(ask(), want)
        rough = model.weights(x)  # 16 bits, some of them
        assert model.render(rough, (22, 26)).dtype == torch.float32


@pytest.mark.parametrize("name", ["patches", "whole"])
def test_a_model_in_half_precision_stays_one(name):
    field = WholeNetworks(edge=16, width=4, embedding=16, target=(12, 12)) if name == "whole" else GRAINS[name]
    model = FunctionalImage(FunctionalImageConfig(field=field)).bfloat16().eval()
    theta = model.weights(image(16, 16).bfloat16())
    assert model.query(theta, grid(3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert model.render(theta, (20, 18)).shape == (2, 3, 20, 18)


def test_sixteen_bits_do_not_count_pixels():
    model = FunctionalImage(FunctionalImageConfig(field=WholeNetworks(edge=16, width=4, embedding=16, target=(12, 12)))).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.paint.cells(model.weights(image(321, 481, 1).float())) == (321, 481)


@pytest.mark.parametrize("name", GRAINS)
def test_a_subset_or_another_order_of_coordinates_changes_nothing(name):
    model = make(name)
    theta = model.weights(image())
    coords = torch.rand(60, 2) * 2 - 1
    order = torch.randperm(60)[:23]
    assert torch.allclose(model.query(theta, coords, (2, 2))[:, order], model.query(theta, coords[order], (2, 2)), atol=1e-12)


@pytest.mark.parametrize("name", GRAINS)
def test_a_region_is_a_part_of_the_whole(name):
    model = make(name)
    theta = model.weights(image(12, 12))
    whole = model.render(theta, (36, 48))
    part = model.render(theta, (18, 24), region=(-0.5, -1.0, 0.5, 0.0))
    assert torch.allclose(part, whole[:, :, 9:27, :24], atol=1e-10)


@pytest.mark.parametrize("name", GRAINS)
def test_derivatives_equal_finite_differences(name):
    model = make(name)
    theta = model.weights(image())
    coords = torch.rand(40, 2) * 1.6 - 0.8
    value, jacobian = model.query(theta, coords, (3, 3), derivatives=1)
    assert value.shape == (2, 40, 3) and jacobian.shape == (2, 40, 3, 2)
    h = 1e-6
    for axis in (0, 1):
        step = torch.zeros(2)
        step[axis] = h
        slope = (model.query(theta, coords + step, (3, 3)) - model.query(theta, coords - step, (3, 3))) / (2 * h)
        assert torch.allclose(jacobian[..., axis], slope, atol=1e-5)


def smooth_field(h, w):
    """Weights of cells that all hold the one plane wave sin(0.4 x + 0.2 y), as fields around their own centres."""
    model = make("cells")
    theta = model.weights(torch.zeros(1, 3, h, w))
    theta = {k: torch.zeros_like(v) for k, v in theta.items()}
    with torch.no_grad():
        model.paint.field.frequency.zero_()
        model.paint.field.frequency[:, 0] = torch.tensor([0.2, 0.4])
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    phase = 0.2 * y + 0.4 * x
    theta["sine"][0, ..., 0] = phase.cos()[..., None]
    theta["cosine"][0, ..., 0] = phase.sin()[..., None]
    return model, theta


@pytest.mark.parametrize("blur", [0.3, 0.5, 0.55, 0.6, 0.75, 0.95, 1.0, 1.7, 4.0])
def test_blur_of_any_width_is_the_gaussian_of_the_function(blur):
    model, theta = smooth_field(61, 61)
    y = (grid(9, 9, (-0.2, -0.2, 0.2, 0.2), dtype=torch.float64) + 1) / 2 * 61
    wave = (y @ torch.tensor([0.2, 0.4])).sin()
    exact = wave * torch.exp(torch.tensor(-(0.2**2 + 0.4**2) * blur**2 / 2))
    coords = grid(9, 9, (-0.2, -0.2, 0.2, 0.2), dtype=torch.float64)
    got = model.query(theta, coords, blur=blur)[0, :, 0]
    assert torch.allclose(got, exact, atol=2e-4)
    rendered = model.render(theta, (9, 9), (-0.2, -0.2, 0.2, 0.2), blur=blur)
    t = torch.tensor((9 / (0.2 * 61)) ** -2)
    pixel = torch.exp(-(0.2**2 + 0.4**2) * model.paint.field.diffusivity * t)  # the pixel's own Gaussian
    assert torch.allclose(rendered[0, 0].flatten(), exact * pixel, atol=2e-4)


def test_scale_sets_the_pixel_the_field_is_seen_with():
    model = make("cells")
    theta = model.weights(image())
    coords = torch.rand(20, 2) * 2 - 1
    fine, coarse = model.query(theta, coords, (8, 8)), model.query(theta, coords, (1, 1))
    assert (fine - coarse).abs().max() > 1e-4
    assert torch.allclose(model.query(theta, coords), model.query(theta, coords, (1e9, 1e9)))


def test_cells_begin_close_to_the_interpolated_pixels():
    x = resize(torch.rand(1, 3, 5, 5) * 2 - 1, (40, 40)).clamp(-1, 1)
    assert (make("cells")(x, (40, 40)) - x).abs().mean() < 0.1


def test_float32_queries_agree_with_render_where_pixels_lie_on_borders():
    """At ×2.5 every fifth pixel's centre is the border of two cells."""
    model = make("cells").float()
    theta = model.weights(torch.rand(1, 3, 100, 100, dtype=torch.float32) * 2 - 1)
    asked = model.query(theta, grid(250, 250), (2.5, 2.5)).transpose(1, 2).view(1, 3, 250, 250)
    assert (asked - model.render(theta, (250, 250))).abs().max() < 1e-3


def test_training_queries_are_the_rendered_pixels():
    """What the objective trains is what a user gets: query_cells at the drawn pixels = render there, every cell covered."""
    model = make("cells")
    theta = model.weights(image())
    size, scale = (27, 31), (27 / 11, 31 / 13)
    rows, columns = pixels_in_cells(size, (11, 13), 4, torch.Generator().manual_seed(1))
    offset = torch.stack([_offset(rows, scale[0], 11, 0), _offset(columns, scale[1], 13, 1)], -1)
    assert offset.abs().max() <= 0.5 + 1e-9
    value = model.paint.query_cells(theta, offset, scale).flatten(1, 3)
    rendered = model.render(theta, size).flatten(2)[:, :, (rows * 31 + columns).flatten()].transpose(1, 2)
    assert torch.allclose(value, rendered, atol=1e-10)
    many = torch.stack(pixels_in_cells(size, (11, 13), 200, torch.Generator().manual_seed(1)), -1)
    assert len(many.view(-1, 2).unique(dim=0)) == 27 * 31  # every pixel can be drawn


@pytest.mark.parametrize("hole_weight, expected", [(1.0, 0.3), (10.0, 0.3 * 10)])
def test_holes_weigh_more(hole_weight, expected):
    """A model that is 0.3 off inside the holes and exact outside, holes everywhere: the loss is 0.3 · weight."""
    model = make("unet", mask=True)
    x, known = image(8, 8), torch.zeros(2, 1, 8, 8)
    answer = model(x, (8, 8), known).detach()
    batch = Batch(answer + 0.3, torch.cat([x, known], 1))
    losses = FunctionalImageObjective(queries=1, hole_weight=hole_weight).build(model).losses(batch)
    assert losses["distance"].item() == pytest.approx(expected)


def test_only_holes_weigh_more():
    """|e| everywhere, and w - 1 times |e| in the holes besides."""
    model = make("unet", mask=True)
    x, known = image(8, 8), torch.zeros(2, 1, 8, 8)
    known[..., :3] = 1
    answer = model(x, (8, 8), known).detach()
    batch = Batch(torch.where(known > 0, answer + 0.3, answer + 0.1), torch.cat([x, known], 1))
    losses = FunctionalImageObjective(queries=1, hole_weight=5.0).build(model).losses(batch)
    assert losses["distance"].item() == pytest.approx((3 * 0.3 + 5 * 0.1) / 8 + 4 * 5 * 0.1 / 8)


@pytest.mark.parametrize("name", ["cells", "patches", "whole"])
def test_what_is_trained_on_is_what_is_rendered(name):
    """The pixels that are drawn of a target that is not square are those of the function there."""
    field = WholeNetworks(edge=16, width=4, embedding=16, target=(12, 12)) if name == "whole" else GRAINS[name]
    model, x = FunctionalImage(FunctionalImageConfig(field=field)).double().eval(), image()
    theta = model.weights(x)
    target = model.render(theta, (22, 39)).detach()
    objective = FunctionalImageObjective(queries=50).build(model)
    assert objective.distance(theta, Batch(target, x)) < 1e-9 < objective.distance(theta, Batch(target.flip(-1), x))


def test_patch_networks_know_the_scale():
    model, x = make("patches"), image()
    theta, coords = model.weights(x), torch.zeros(1, 2, dtype=torch.float64)
    low, high = (model.query(theta, coords, (s, s)) for s in (1.0, 4.0))
    assert (low - high).abs().max() > 1e-4


def test_coordinates_outside_are_refused():
    for name in ("cells", "patches"):
        model = make(name)
        theta = model.weights(image())
        with pytest.raises(ValueError, match=r"\[-1, 1\], got 1.2"):
            model.query(theta, torch.tensor([[0.0, 1.2]]))
        with pytest.raises(ValueError, match=r"\[-1, 1\], got -2"):
            model.render(theta, (4, 4), region=(-2.0, -1.0, 0.0, 0.0))


def test_derivatives_of_patches_inside_inference_mode():
    model = make("patches")
    with torch.inference_mode():
        theta = model.weights(image())
        value, jacobian = model.query(theta, torch.zeros(1, 2), (2, 2), derivatives=1)
    assert jacobian.abs().max() > 0


def test_mask_is_asked_for_and_refused():
    with pytest.raises(ValueError, match="needs known="):
        make("cells", mask=True).weights(image())
    with pytest.raises(ValueError, match="has no mask"):
        make("cells").weights(image(), torch.ones(2, 1, 11, 13))
    masked = make("unet", mask=True)
    x, known = image(), (torch.rand(2, 1, 11, 13) > 0.3).double()
    other = torch.where(known > 0, x, 0.9)
    assert torch.allclose(masked(x, (11, 13), known), masked(other, (11, 13), known))  # what lies in holes is not seen


@pytest.mark.parametrize(
    "change, words",
    [
        ({"coords": torch.zeros(3, 3)}, r"\(Q, 2\)"),
        ({"derivatives": 2}, "0 or 1"),
        ({"blur": -1.0}, "≥ 0"),
    ],
)
def test_query_says_what_is_wrong(change, words):
    model = make("cells")
    arguments = {"coords": torch.zeros(3, 2), **change}
    with pytest.raises(ValueError, match=words):
        model.query(model.weights(image()), **arguments)


def test_patches_refuse_what_only_cells_can():
    model = make("patches")
    with pytest.raises(ValueError, match="cell fields only"):
        model.query(model.weights(image()), torch.zeros(3, 2), blur=1.0)
    with pytest.raises(ValueError, match="leaves gaps"):
        PatchNetworks(patch=4, stride=5)


def test_overlapping_patches_leave_no_seam():
    """The window-weighted mean is continuous where a patch begins or ends: no jump above the slope's own."""
    model = make("patches")
    theta = model.weights(image(18, 18, 1))
    border = 2 * 9 / 18 - 1  # a patch border
    eps = 1e-7
    left, right = (model.query(theta, torch.tensor([[0.1, border + s]]), (3, 3)) for s in (-eps, eps))
    assert (left - right).abs().max() < 1e-4  # an 8-bit level is 8e-3
