"""Patches of one picture: what is measured of them, and variations without and with a network."""

import pytest
import torch
import torch.nn.functional as F

from predella.apps import internal
from predella.apps.patches import patch_variation, replaced
from predella.errors import UserError
from predella.image.pyramid import pyramid
from predella.losses.distances import Pixels
from predella.losses.texture import Texture
from predella.metrics.internal import copy_score, leakage, measure, pixel_diversity, sifid, slopes
from predella.models.classifier import texture_maps
from predella.models.meta_internal import MetaInternal, MetaInternalConfig, missing

TINY = MetaInternalConfig(coarsest=12, finest=24, scales=3, width=6, layers=3, embedding=8, rank=2)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_sifid_of_shuffled_places_is_0_and_of_moved_features_their_square():
    x = torch.randn(1, 4, 10, 12)
    shuffled = x.flatten(2)[..., torch.randperm(120)].view(1, 4, 12, 10)
    assert sifid(x, shuffled) == pytest.approx(0, abs=1e-9)
    assert sifid(x, x + 2) == pytest.approx(16)


def test_pixel_diversity_is_the_deviation_over_the_pictures_own():
    picture = noise(1, 3, 30, 40)
    steady = picture.repeat(5, 1, 1, 1)
    assert pixel_diversity(steady, picture) == 0
    other = torch.stack([-picture[0], picture[0]])
    assert pixel_diversity(other, picture) == pytest.approx((picture.abs().mean() / picture.std()).item())
    with pytest.raises(ValueError, match="one colour"):
        pixel_diversity(steady, torch.zeros(1, 3, 4, 4))


def test_copy_score_is_1_for_a_shifted_picture_and_0_for_scattered_patches():
    picture = noise(1, 3, 40, 40)
    assert copy_score(picture[..., 3:38, 5:40], picture) == 1
    tiles = picture.unfold(2, 7, 7).unfold(3, 7, 7).reshape(3, -1, 7, 7)  # 25 tiles
    order = torch.tensor([(7 * i + 3) % 25 for i in range(25)]).view(5, 5)
    scattered = torch.cat([torch.cat([tiles[:, j] for j in row], -1) for row in order], -2)[None]
    assert copy_score(scattered, picture) == 0
    with pytest.raises(ValueError, match="at least 14 pixels, got 10×40"):
        copy_score(picture[..., :10], picture)


def test_leakage_is_the_share_of_patches_from_another_picture():
    own, other = noise(1, 3, 30, 40), noise(1, 3, 40, 30, seed=1)
    assert leakage(own, own, [other]) == 0
    assert leakage(other, own, [other]) == 1
    half = torch.cat([own[..., :21], other[..., :30, :21]], -1)
    assert 0.3 < leakage(half, own, [noise(1, 3, 9, 9, seed=2), other]) < 0.7
    with pytest.raises(ValueError, match="another picture"):
        leakage(own, own, [])


def test_leakage_below_a_ratio_leaves_out_patches_that_are_about_as_near_to_both_pictures():
    own, other = noise(1, 3, 7, 7), noise(1, 3, 7, 7, seed=1)
    assert [leakage(own.lerp(other, t), own, [other], ratio=r) for t, r in ((0.52, 1), (0.52, 0.8), (0.6, 0.8))] == [1, 0, 1]
    with pytest.raises(ValueError, match="must lie in"):
        leakage(own, own, [other], ratio=1.2)


def test_slopes_are_changes_a_unit_of_the_way():
    way = torch.linspace(0, 2, 5).view(5, 1, 1, 1).expand(5, 3, 4, 4)
    torch.testing.assert_close(slopes(way), torch.full((4,), 2.0))


def test_patches_of_the_picture_itself_are_replaced_by_themselves():
    picture = noise(1, 3, 20, 24)
    torch.testing.assert_close(replaced(picture, picture, picture), picture)
    torch.testing.assert_close(replaced(picture, picture, picture * 0.5), picture * 0.5)


def test_a_patch_that_nothing_took_is_nearer():
    guess, keys = torch.tensor([[[[0.0, 0.1, 0.2, 0.3]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert replaced(guess, keys, keys, patch=1, spare=1e6).flatten().tolist() == [0, 0, 0, 0]
    assert replaced(guess, keys, keys, patch=1, spare=0.005).flatten().tolist() == [0, 1, 1, 1]  # .1² / .005 > .9² / (.005 + .7²)


def test_patch_variations_have_any_size_and_the_pictures_colours():
    picture = noise(1, 3, 24, 32).sign()
    picture[:, 1] = 0.25
    made = patch_variation(picture, (24, 50), torch.Generator().manual_seed(0))
    assert made.shape == (1, 3, 24, 50) and made[:, 0].std() > 0.3
    torch.testing.assert_close(made[:, 1], torch.full((1, 24, 50), 0.25))
    again = patch_variation(picture, (24, 50), torch.Generator().manual_seed(0))
    torch.testing.assert_close(made, again)
    with pytest.raises(ValueError, match="32×12 is smaller than 21 pixels"):
        patch_variation(picture[..., :12, :], (12, 32), torch.Generator())


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = MetaInternal(TINY).eval()
    made.amplitudes.copy_(torch.tensor([1.0, 0.3, 0.2]))
    return made


def test_tuning_draws_the_reconstruction_and_the_texture_to_the_picture(model, monkeypatch):
    picture = F.interpolate(noise(1, 3, 6, 8), (18, 24), mode="bilinear")
    before = internal.weights_of(model, picture)
    after = internal.tuned(model, before, picture, 30, torch.Generator().manual_seed(0))
    sizes = model.sizes((18, 24))
    errors = [(model.reconstruct(w, sizes)[-1] - picture).square().mean() for w in (before, after)]
    assert errors[1] < 0.7 * errors[0]
    assert not before[0]["0.weight"].requires_grad and not torch.equal(before[0]["0.weight"], after[0]["0.weight"])
    monkeypatch.setattr(internal, "HELD", 0.0)
    texture, after = Texture(picture, texture_maps()), internal.tuned(model, before, picture, 30, torch.Generator().manual_seed(0))
    made = [next(internal.variations(model, w, (18, 24), 1, torch.Generator().manual_seed(1))) for w in (before, after)]
    far, near = (texture(x, torch.Generator().manual_seed(2)) for x in made)
    assert near < 0.5 * far


def test_variations_start_from_noise_or_from_the_picture(model):
    picture = noise(1, 3, 18, 24)
    weights = model.all_weights(model.embed(picture))
    a, b = internal.variations(model, weights, (18, 24), 2, torch.Generator().manual_seed(0))
    assert a.shape == (1, 3, 18, 24) and not torch.allclose(a, b)
    (wide,) = internal.variations(model, weights, (18, 48), 1, torch.Generator().manual_seed(0))
    assert wide.shape == (1, 3, 18, 48)
    model.amplitudes[2] = 0  # of the one scale that is left
    c, d = internal.variations(model, weights, (18, 24), 2, torch.Generator().manual_seed(0), 2, picture)
    torch.testing.assert_close(c, d)


def test_mixtures_keep_the_first_picture_below_the_scale(model):
    a, b = noise(1, 3, 18, 24), noise(1, 3, 18, 24, seed=1)
    ends = [model.embed(x) for x in (a, b)]
    mixed = internal.mixed(model, *ends, 1.0, 1)
    first, second = map(model.all_weights, ends)
    torch.testing.assert_close(mixed[0], first[0])
    torch.testing.assert_close(mixed[2], second[2])
    half = internal.mixed(model, *ends, 0.5, 0)
    torch.testing.assert_close(half[1], model.weights((ends[0] + ends[1]) / 2, 1))


def test_between_pictures_each_is_embedded_once(model, monkeypatch):
    seen = []
    monkeypatch.setattr(model, "embed", lambda x: seen.append(len(x)) or MetaInternal.embed(model, x))
    internal.between(model, noise(1, 3, 18, 24), noise(1, 3, 18, 24, seed=1), 5, 1, 0)
    assert seen == [1, 1]


def test_between_tuned_weights_the_way_is_a_line_from_the_scale_on(model):
    a, b = noise(1, 3, 18, 24), noise(1, 3, 18, 24, seed=1)
    first, second = ([{k: w + i for k, w in scale.items()} for scale in model.all_weights(model.embed(x))] for i, x in ((0, a), (0.1, b)))
    made = internal.between(model, a, b, 3, 1, 5, own=(first, second))
    halfway = [first[0], *({k: (x[k] + y[k]) / 2 for k in x} for x, y in zip(first[1:], second[1:]))]
    for weights, picture in ((first, made[:1]), (halfway, made[1:2]), ([first[0], *second[1:]], made[2:])):
        (wanted,) = internal.variations(model, weights, (18, 24), 1, torch.Generator().manual_seed(5))
        torch.testing.assert_close(picture, wanted)


def test_a_tuned_scales_noise_is_what_its_reconstruction_leaves_out(model, monkeypatch):
    picture = F.interpolate(noise(1, 3, 6, 8), (18, 24), mode="bilinear")
    sizes, before = model.sizes((18, 24)), internal.weights_of(model, picture)
    made, real = model.reconstruct(before, sizes), pyramid(picture, sizes)
    left = [missing(a, b) for a, b in zip(made, real[1:])]
    for share in (0.5, 2.0):  # of it, that the noise was before: it becomes no stronger
        model.amplitudes[1:] = torch.cat(left) * share
        after = internal.tuned(model, before, picture, 1, torch.Generator().manual_seed(0))
        assert after[0]["detail"] == 1
        for i in (1, 2):
            torch.testing.assert_close(after[i]["detail"] * model.amplitudes[i], min(1.0, share) * left[i - 1])
    once = [{**w, **({"detail": torch.tensor([0.1])} if i else {})} for i, w in enumerate(before)]
    assert internal.tuned(model, once, picture, 1, torch.Generator().manual_seed(0))[1]["detail"] <= 0.1


def test_tuning_that_diverges_says_so(model, monkeypatch):
    picture = F.interpolate(noise(1, 3, 6, 8), (18, 24), mode="bilinear")
    monkeypatch.setattr(internal, "Texture", lambda real, maps: lambda x, generator: x.sum() * torch.nan)
    with pytest.raises(UserError, match="tuning diverged at step 1 of 5; take fewer"):
        internal.tuned(model, internal.weights_of(model, picture), picture, 5, torch.Generator())


def test_tuning_begins_with_coarse_scales_and_tells_them_of_the_last(model, monkeypatch):
    """Reconstructed is in every fourth step: of two scales of three at first."""
    picture = F.interpolate(noise(1, 3, 6, 8), (18, 24), mode="bilinear")
    monkeypatch.setattr(internal, "HELD", 0.0)
    monkeypatch.setattr(internal, "Texture", lambda real, maps: lambda x, generator: x.sum() * (x.shape == picture.shape))
    scales = []
    monkeypatch.setattr(model, "reconstruct", lambda w, sizes: scales.append(len(w)) or MetaInternal.reconstruct(model, w, sizes))
    before = internal.weights_of(model, picture)
    first = internal.tuned(model, before, picture, 3, torch.Generator().manual_seed(0))
    assert scales == [3] and not torch.equal(before[0]["0.weight"], first[0]["0.weight"])
    told = []
    internal.tuned(model, before, picture, 12, torch.Generator().manual_seed(0), told.append)
    assert scales == [3, 2, 3, 3]
    coarse, fine = (sum(h * w for h, w in model.sizes((18, 24))[:n]) for n in (2, 3))
    assert told == pytest.approx([(min(n, 3) * coarse + max(n - 3, 0) * fine) / (3 * coarse + 9 * fine) for n in range(1, 13)])


def test_a_paste_changes_the_picture_only_near_its_mask(model):
    picture, naive = noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1)
    mask = torch.zeros(1, 1, 20, 24)
    mask[..., 8:12, 18:22] = 1
    made, _ = internal.made_own(
        model, internal.weights_of(model, picture), picture, naive, mask, 2, 10, torch.Generator().manual_seed(0), "p.png"
    )
    torch.testing.assert_close(made[..., :10], picture[..., :10])
    assert (made - picture)[..., 8:12, 18:22].abs().mean() > 0.01
    large = [F.interpolate(x, scale_factor=3) for x in (picture, naive, mask)]
    made, _ = internal.made_own(model, internal.weights_of(model, large[0]), *large, 2, 10, torch.Generator().manual_seed(0), "p.png")
    torch.testing.assert_close(made[..., :30], large[0][..., :30])
    soft = internal.softened(mask, 2, 0.5)
    assert soft.max() == 1 and soft[..., 10, 14] == 0 and soft[..., 10, 17] > 0.5


def test_no_line_of_the_cut_stays(model, monkeypatch):
    """A model that takes the paste away altogether leaves the picture, at its full size, too."""
    picture, mask = torch.zeros(1, 3, 108, 144), torch.zeros(1, 1, 108, 144)
    mask[..., 30:70, 50:90] = 1
    pasted = picture + 0.8 * mask
    monkeypatch.setattr(internal, "_from", lambda *_: torch.zeros(1, 3, 18, 24))
    made, _ = internal.made_own(
        model, internal.weights_of(model, picture), picture, pasted, mask, 2, 0, torch.Generator().manual_seed(0), "p.png"
    )
    assert (made - picture).abs().max() < 0.05


@pytest.mark.parametrize("start", [1, 2])
def test_the_later_a_change_is_given_the_more_of_its_fine_detail_stays(model, monkeypatch, start):
    """Deep in the mask: all of it at the last scale, (start / last)² of it below."""
    picture, mask = torch.zeros(1, 3, 180, 240), torch.zeros(1, 1, 180, 240)
    mask[..., 40:140, 60:180] = 1
    stripes = 0.8 * mask * (torch.arange(240) % 2 * 2 - 1.0)  # finer than the model's 24 pixels can hold
    monkeypatch.setattr(internal, "_from", lambda *_: torch.zeros(1, 3, 18, 24))
    made, _ = internal.made_own(
        model, internal.weights_of(model, picture), picture, picture + stripes, mask, start, 0, torch.Generator(), "p.png"
    )
    deep = (..., slice(80, 100), slice(110, 130))
    torch.testing.assert_close(made[deep], (start / 2) ** 2 * stripes.expand_as(made)[deep], atol=0.02, rtol=0)


def test_frames_move_slowly_around_the_reconstruction(model):
    picture = noise(1, 3, 18, 24)
    weights = model.all_weights(model.embed(picture))
    still = next(internal.frames(model, weights, (18, 24), 1, torch.Generator().manual_seed(0), start=1, back=1.0))
    torch.testing.assert_close(still, model.reconstruct(weights, model.sizes((18, 24)))[-1].clamp(-1, 1))
    moving = torch.cat(list(internal.frames(model, weights, (18, 24), 24, torch.Generator().manual_seed(0), start=1)))
    near, far = ((moving[n:] - moving[:-n]).abs().mean() for n in (1, 6))
    assert 0 < near < 0.7 * far
    away = (moving - still).abs().mean((1, 2, 3))
    assert away[:6].mean() > 0.5 * away[-6:].mean()  # under way at once


def test_what_a_model_cannot_hold_is_refused(model):
    with pytest.raises(UserError, match="a.png has 50×5 pixels; the longest edge may be 8 times the shortest"):
        internal.at_home(model, noise(1, 3, 5, 50), "a.png")
    with pytest.raises(UserError, match="the coarsest scale of this model needs 12"):
        internal.at_home(model, noise(1, 3, 8, 10), "a.png")
    with pytest.raises(UserError, match="20000×20000 pixels would need about 27 GB"):
        internal.check_size((20000, 20000), 6)


def test_samples_of_a_picture_are_measured():
    distance = Pixels()
    picture = noise(1, 3, 20, 24)
    rows = list(measure([picture] * 2, lambda x, k: [x] * k, lambda x: x, "pixels", distance, 3, "itself"))
    values = {r["measure"]: r["value"] for r in rows}
    assert values["pixel_diversity"] == 0 and values["copy_score"] == 1 and values["lpips_diversity"] == 0
    assert values["sifid_pixels"] == pytest.approx(values["msifid_pixels"]) and values["sifid_pixels"] < 1e-3  # of rounding to 8 bits
    assert all(r["images"] == 2 and "3 samples a picture" in r["protocol"] for r in rows)


def test_the_least_and_the_mean_of_samples_are_told_apart():
    """Of a copy and one that is a tenth brighter: 0, and half of three times a tenth squared."""
    picture = noise(1, 3, 20, 24) * 0.5
    rows = measure([picture], lambda x, k: [x, x + 0.1], lambda x: x, "pixels", Pixels(), 2, "itself")
    values = {r["measure"]: r["value"] for r in rows}
    assert values["sifid_pixels"] == pytest.approx(0, abs=1e-3) and values["msifid_pixels"] == pytest.approx(0.015, abs=1e-3)
