"""A generator for every picture: the loop over scales, the heads, and what one scale's training changes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from predella.image.pyramid import pyramid, scale_edges, scale_sizes
from predella.losses.adversarial import logits_and_slopes
from predella.models.meta_internal import MetaInternal, MetaInternalConfig, _needed, cut, enlarged
from predella.nn.heads import PatchNetwork
from predella.objectives.meta_internal import HyperCritic, MetaInternalObjectiveConfig
from predella.tasks.base import Batch

TINY = MetaInternalConfig(coarsest=12, finest=24, scales=3, width=6, layers=3, embedding=8, rank=2)


def batch_of(*sizes, seed=3):
    pictures = [torch.rand(3, *s, generator=torch.Generator().manual_seed(i)) * 2 - 1 for i, s in enumerate(sizes)]
    height, width = max(s[0] for s in sizes), max(s[1] for s in sizes)
    framed = [F.pad(p, (0, width - p.shape[-1], 0, height - p.shape[-2])) for p in pictures]
    return Batch(torch.stack(framed), seed=seed, sizes=tuple(sizes))


def test_scales_are_those_of_the_released_code():
    assert scale_edges(25, 250, 7)[1:] == [37, 54, 80, 117, 171, 250]  # r = .6813
    assert scale_sizes((188, 250), [25, 250]) == [(19, 25), (188, 250)]
    with pytest.raises(ValueError, match="5 scales from 25 to 27"):
        scale_edges(25, 27, 5)
    x = torch.rand(1, 3, 9, 12) * 2 - 1
    assert [p.shape[-2:] for p in pyramid(x, [(3, 4), (9, 12)])] == [(3, 4), (9, 12)]


def test_the_papers_generator_has_432_million_parameters():
    paper = MetaInternalConfig(finest=250, scales=7, heads="dense", embed="resnet34", embedding=512)
    with torch.device("meta"):
        model = MetaInternal(paper)
    assert sum(s.numel() for s in paper.primary().shapes().values()) == 114_307
    assert sum(p.numel() for p in model.parameters()) == 432_023_765


def test_weights_are_scaled_at_use_by_fan_in_and_gain():
    network = PatchNetwork(3, 8, 2, layers=3)
    ones = {k: torch.ones(2, *s) for k, s in network.shapes().items()}
    scaled = network.scaled(ones)
    between = (2 / (1 + 0.02**2)) ** 0.5
    torch.testing.assert_close(scaled["0.weight"], ones["0.weight"] * between / 27**0.5)
    torch.testing.assert_close(scaled["4.weight"], ones["4.weight"] * (5 / 3) / 72**0.5)
    torch.testing.assert_close(scaled["4.bias"], ones["4.bias"] / 8**0.5)
    critic = PatchNetwork(3, 8, 1, layers=3, squash=False)
    assert isinstance(network[-1], nn.Tanh) and isinstance(critic[-1], nn.Conv2d)


@pytest.mark.parametrize("heads", ["low_rank", "dense", "table"])
def test_kernels_begin_at_unit_size(heads):
    torch.manual_seed(1)
    config = replace(TINY, heads=heads, width=32, embedding=32, rank=8)
    kernels = config.new_heads(config.primary())(torch.randn(50, 32))["2.weight"]
    assert kernels.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("heads", ["low_rank", "dense", "table"])
def test_generating_is_equation_1(heads):
    torch.manual_seed(0)
    model = MetaInternal(replace(TINY, heads=heads))
    model.amplitudes.copy_(torch.tensor([1.0, 0.5, 0.25]))
    theta = model.all_weights(model.embed(torch.rand(2, 3, 18, 24)))
    sizes = model.sizes((18, 24))
    assert sizes == [(9, 12), (13, 17), (18, 24)]
    noise = model.draw(2, sizes, torch.Generator().manual_seed(1))
    assert [z.shape[-2:] for z in noise] == [(9, 12), (19, 23), (24, 30)]  # padding has noise, too, but at the first scale
    out = model.generate(theta, noise, sizes)
    for b in range(2):  # one item at a time, with ordinary convolutions
        x = None
        for i, size in enumerate(sizes):
            w = {k: v[b] for k, v in theta[i].items()}
            up = torch.zeros(1, 3, *size) if x is None else F.interpolate(x, size, mode="bilinear", align_corners=True)
            z = noise[i][b : b + 1]
            h = F.pad(z, (3,) * 4) if x is None else F.pad(up, (3,) * 4) + z
            h = F.leaky_relu(F.conv2d(h, w["0.weight"], w["0.bias"]), 0.02)
            h = F.leaky_relu(F.conv2d(h, w["2.weight"], w["2.bias"]), 0.02)
            x = up + F.conv2d(h, w["4.weight"], w["4.bias"]).tanh()
            torch.testing.assert_close(out[i][b : b + 1], x)


def test_any_size_is_generated_and_the_fixed_noise_is_repeated():
    model = MetaInternal(TINY)
    assert model.sizes((24, 60)) == [(12, 30), (17, 42), (24, 60)]
    wide = model.fixed(1, (12, 30))
    torch.testing.assert_close(wide[..., 12:24], wide[..., :12])
    assert model.fit((100, 50)) == (24, 12)


def test_noise_may_be_as_strong_as_a_pictures_own_detail():
    torch.manual_seed(0)
    model = MetaInternal(replace(TINY, noise="picture"))
    pictures = torch.rand(1, 3, 18, 24) * torch.tensor([0.1, 1.0, 0.0]).view(3, 1, 1, 1)
    sizes = model.sizes((18, 24))
    levels = pyramid(pictures, sizes)
    up = F.interpolate(levels[0], sizes[1], mode="bilinear", align_corners=True)
    details = model.details(pictures)
    torch.testing.assert_close(details[:, 1], (up - levels[1]).square().mean((1, 2, 3)).sqrt())
    torch.testing.assert_close(details[1] * torch.tensor([1, 0.1, 0.1]), details[0] * torch.tensor([1, 1.0, 1]))
    theta, (first, *noise) = model.all_weights(model.embed(pictures)), model.draw(3, sizes, torch.Generator().manual_seed(0))
    calm = [{k: v[2:] for k, v in scale.items()} for scale in theta]
    for z in ([first[2:], *(n[2:] for n in noise)], [first[2:], *(0 * n[2:] for n in noise)]):  # a picture of one colour has no noise
        torch.testing.assert_close(model.generate(calm, z, sizes), model.generate(calm, [first[2:], None, None], sizes))
    same = {k: v.expand(3, *v.shape[1:]) for k, v in model.weights(model.embed(pictures[1:2]), 1).items()}
    one, other = (model.step(t, levels[0], noise[0], sizes[1]) for t in (same, {**same, "detail": same["detail"] * 2}))
    twice = model.step(same, levels[0], 2 * noise[0], sizes[1])
    torch.testing.assert_close(other, twice)
    assert (one - twice).abs().max() > 1e-3
    with pytest.raises(ValueError, match="model.noise must be 'data'"):
        replace(TINY, noise="picture", heads="table")


@pytest.mark.parametrize("scale", [0, 1])
def test_a_window_is_that_part_of_the_whole(scale):
    torch.manual_seed(0)
    model, size, window = MetaInternal(TINY), (18, 24), (3, 11, 7, 13)
    theta = model.weights(model.embed(torch.rand(2, 3, 18, 24)), scale)
    below = None if not scale else torch.rand(2, 3, 9, 12)
    pad = 2 * model.radius * scale  # the noise of scale 0 has none
    noise = torch.randn(2, 3, 18 + pad, 24 + pad)
    whole, part = (model.step(theta, below, noise, size, w) for w in (None, window))
    torch.testing.assert_close(part, whole[..., 3:10, 11:24])


@pytest.mark.parametrize("window", [(0, 0, 5, 6), (11, 17, 7, 7), (4, 9, 6, 8)])
def test_a_window_is_made_of_windows(window):
    torch.manual_seed(0)
    model, (top, left, height, width) = MetaInternal(replace(TINY, coarsest=14, finest=28)), window
    sizes = model.sizes((18, 28))
    theta, noise = model.all_weights(model.embed(torch.rand(2, 3, 18, 28))), model.draw(2, sizes, torch.Generator().manual_seed(0))
    whole, part = model.generate(theta, noise, sizes), model.generate(theta, noise, sizes, window=window)
    torch.testing.assert_close(part[-1], whole[-1][..., top : top + height, left : left + width])
    for a, b, (y, x, h, w) in zip(whole, part, model.windows(sizes, window)):
        torch.testing.assert_close(b, a[..., y : y + h, x : x + w])
    assert part[0].numel() < whole[0].numel() or window == (4, 9, 6, 8)
    made, full = model.reconstruct(theta, sizes, window)[-1], model.reconstruct(theta, sizes)[-1]
    torch.testing.assert_close(made, full[..., top : top + height, left : left + width])


@pytest.mark.parametrize(("coarsest", "finest", "scales"), [(25, 250, 7), (25, 256, 6), (25, 128, 5)])
def test_windows_of_any_size_are_enlarged_to_their_part_of_the_whole(coarsest, finest, scales):
    edges = scale_edges(coarsest, finest, scales)
    for short in range(finest // 8, finest + 1, 3):
        sizes = scale_sizes((short, finest), edges)
        for small, size in zip(sizes, sizes[1:]):
            below = torch.arange(small[0] * small[1], dtype=torch.float32).view(1, 1, *small)
            whole = F.pad(F.interpolate(below, size, mode="bilinear", align_corners=True), (5, 5, 5, 5))
            for top in range(-5, size[0] - 3, 7):
                rows = _needed(top, top + 8, size[0], small[0])
                window = (top, 0, min(8, size[0] + 5 - top), size[1])
                part = (rows[0], 0, rows[1] - rows[0], small[1])
                found = enlarged(cut(below, part), size, window, (small, part))
                wanted = whole[..., top + 5 : top + 5 + window[2], 5:-5]
                torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-2)


def test_windows_see_the_edges_as_often_as_the_middle():
    objective = MetaInternalObjectiveConfig(scale=2, window=6).build(MetaInternal(TINY))
    data, seen = batch_of((18, 24)), torch.zeros(24)
    for seed in range(4000):
        _, left, _, width = objective._window((18, 24), replace(data, seed=1000 * seed), 1)
        seen[left : left + width] += 1
    assert seen[0] / seen[12] > 0.85 and seen[23] / seen[12] > 0.85


def test_an_embedding_that_rests_leaves_all_scales_below_as_they_are():
    torch.manual_seed(0)
    model, data = MetaInternal(replace(TINY, embed="resnet34")).train(), batch_of((18, 24), (24, 18))
    first, second = (MetaInternalObjectiveConfig(scale=i, embed=i == 0, accumulate=False, window=9).build(model) for i in (0, 1))
    first.begin(iter([data] * 3))
    second.begin(iter([data] * 3))
    kept = {k: v.clone() for k, v in model.state_dict().items() if k.startswith(("encoder", "heads.0"))}
    for phase in second.phases():
        optimizer = torch.optim.Adam([p for m in phase.trains for p in m.parameters()], 1e-2)
        phase.total(data)[0].backward()
        optimizer.step()
    assert all(torch.equal(model.state_dict()[k], v) for k, v in kept.items())
    with pytest.raises(ValueError, match="critic 'embedded' trains the embedding"):
        MetaInternalObjectiveConfig(scale=1, critic="embedded", embed=False)


def test_a_lone_picture_is_surveyed_once():
    model, data = MetaInternal(TINY), batch_of((18, 24))
    objective = MetaInternalObjectiveConfig(scale=1).build(model)
    seen = []
    objective._missing, survey = lambda b: seen.append(b) or survey(b), objective._missing
    objective.begin(iter([data] * 300))
    assert len(seen) == 1


def test_one_scale_and_a_critic_of_unit_gain():
    model = MetaInternal(replace(TINY, scales=1, noise="picture"))
    sizes = model.sizes((18, 24))
    assert model.first.shape == (1, 3, 24, 24)
    assert model.reconstruct(model.all_weights(model.embed(torch.rand(2, 3, 18, 24))), sizes)[0].shape == (2, 3, 18, 24)
    critic = PatchNetwork(3, 8, 1, layers=3, squash=False)
    scaled = critic.scaled({k: torch.ones(2, *s) for k, s in critic.shapes().items()})
    torch.testing.assert_close(scaled["4.weight"], torch.full_like(scaled["4.weight"], 1 / 72**0.5))


def test_both_penalties_are_taken_of_windows():
    torch.manual_seed(0)
    model, data = MetaInternal(TINY), batch_of((18, 24), (24, 18))
    for penalty in ("real", "between"):
        objective = MetaInternalObjectiveConfig(scale=2, penalty=penalty, window=12, accumulate=True).build(model)
        losses = [p.total(data)[0] for p in objective.phases()]
        losses[0].backward()
        assert all(torch.isfinite(x) for x in losses)
        assert any(p.grad.any() for p in model.encoder.parameters() if p.grad is not None)


def test_a_model_that_was_trained_before_keeps_all_its_scales():
    model, data = MetaInternal(TINY), batch_of((18, 24))
    before = {k: v.clone() for k, v in model.heads.state_dict().items()}
    objective = MetaInternalObjectiveConfig(scale=1).build(model)
    objective.started = True
    objective.begin(iter([data]))
    assert int(model.grown) == TINY.scales and all(torch.equal(v, before[k]) for k, v in model.heads.state_dict().items())


def test_without_its_weight_no_reconstruction_is_made(monkeypatch):
    model, data = MetaInternal(TINY), batch_of((18, 24), (24, 18))
    objective = MetaInternalObjectiveConfig(scale=2, reconstruction=0.0).build(model)
    monkeypatch.setattr(model, "reconstruct", None)
    total, terms = objective.phases()[0].total(data)
    assert list(terms) == ["adversarial"] and total == terms["adversarial"]


def test_windows_are_whole_where_the_picture_is_smaller_and_elsewhere_another_each_time():
    torch.manual_seed(0)
    model, data = MetaInternal(TINY), batch_of((18, 24), (24, 18))
    objective = MetaInternalObjectiveConfig(scale=2, window=20, accumulate=False).build(model)
    objective.begin(iter([data] * 3))
    windows = {objective._window((18, 24), replace(data, seed=1000 * seed), 1) for seed in range(200)}
    assert windows == {(0, left, 18, 20) for left in range(5)} and objective._window((15, 20), data, 1) is None
    generator_losses, critic_losses = (p.losses(data) for p in objective.phases())
    assert [tuple(f.shape[-2:]) for (f,) in objective._fakes(data, objective._weights(objective._embedding(data), False))] == [
        (18, 20),
        (20, 18),
    ]
    assert objective.samples(data).shape == (2, 3, 24, 4 * 24)
    generator_losses["reconstruction"].backward()
    assert all(p.grad is None for p in model.heads[1].parameters()) and any(p.grad.any() for p in model.heads[2].parameters())
    assert all(torch.isfinite(v) for v in critic_losses.values())


def test_pictures_of_several_sizes_train_as_each_alone():
    torch.manual_seed(0)
    model = MetaInternal(TINY)
    objective = MetaInternalObjectiveConfig(scale=1).build(model)
    both = batch_of((18, 24), (24, 16), (18, 24))
    objective.begin(iter([both] * 3))
    missing = objective._missing(both)
    alone = [objective._missing(Batch(both.target[i : i + 1], sizes=both.sizes[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(missing, torch.cat([alone[0], alone[2], alone[1]]))
    generator, critic = (p.losses(both) for p in objective.phases())
    each = [objective.generator_losses(Batch(both.target[i : i + 1], sizes=both.sizes[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(generator["reconstruction"], torch.stack([e["reconstruction"] for e in each]).mean())
    fresh = objective.critic_losses(both)  # of samples made anew, as the generator did not learn in between
    assert critic.keys() == {"real", "fake", "lip"}
    torch.testing.assert_close(critic, fresh)


@pytest.mark.parametrize("accumulate", [True, False])
def test_a_new_scale_begins_as_the_last_and_leaves_it_alone(accumulate):
    torch.manual_seed(0)
    model, data = MetaInternal(TINY), batch_of((18, 24), (24, 18))
    first = MetaInternalObjectiveConfig(scale=0).build(model)
    first.begin(iter([data] * 3))
    assert int(model.grown) == 1 and len(model.all_weights(model.embed(data.target))) == 1
    second = MetaInternalObjectiveConfig(scale=1, accumulate=accumulate).build(model)
    second.follow(first)
    second.begin(iter([data] * 3))
    for a, b in zip(model.heads[0].parameters(), model.heads[1].parameters()):
        torch.testing.assert_close(a, b)
    for a, b in zip(first.critic.parameters(), second.critic.parameters()):
        torch.testing.assert_close(a, b)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizers = [torch.optim.Adam([p for m in phase.trains for p in m.parameters()], 1e-2) for phase in second.phases()]
    for phase, optimizer in zip(second.phases(), optimizers):
        optimizer.zero_grad()
        phase.total(data)[0].backward()
        optimizer.step()
    changed = {k.split(".")[0] + "." + k.split(".")[1] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"encoder.body", "encoder.out", "heads.1"}


def test_slopes_are_those_of_a_linear_critic():
    w = torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1)
    _, norms = logits_and_slopes(lambda x: (w * x).sum(1, keepdim=True), torch.rand(2, 3, 4, 5))
    torch.testing.assert_close(norms, torch.full((2, 4, 5), 5.0))


def test_a_critic_of_every_picture_has_its_own_patches():
    torch.manual_seed(0)
    critic = HyperCritic(TINY, "hyper")
    pictures = torch.rand(2, 3, 18, 24)
    theta = critic.weights(critic.encoder(MetaInternal.square(pictures)))
    logits = critic(theta, pictures)
    assert logits.shape == (2, 1, 12, 18)
    assert critic(theta, pictures[..., :4, :5]).shape == (2, 1, 2, 1)  # smaller than a patch of 7: put amid zeros
    shared = HyperCritic(TINY, "shared")
    same = shared.weights(pictures)
    torch.testing.assert_close(same["0.weight"][0], same["0.weight"][1])
    assert not torch.allclose(theta["0.weight"][0], theta["0.weight"][1])


def test_a_shared_embedding_of_zeros_is_a_dead_point():
    """App. A.2, Prop. 3 and 4: where the embedding is 0, nothing that learns has a gradient; with two embeddings only that one is."""
    torch.manual_seed(0)
    gradients = {}
    for kind in ("embedded", "hyper"):
        model = MetaInternal(replace(TINY, heads="dense"))
        objective = MetaInternalObjectiveConfig(scale=0, critic=kind, reconstruction=0.0).build(model)
        for p in model.encoder.out.parameters():
            p.data.zero_()
        model.encoder.out[1] = nn.Identity()  # of a normalised embedding 0 is no value
        data = batch_of((18, 24), (18, 24))
        for phase in objective.phases():
            phase.total(data)[0].backward()
        parameters = [*model.parameters(), *objective.critic.parameters()]
        gradients[kind] = sum(p.grad.abs().sum().item() for p in parameters if p.grad is not None)
    assert gradients["embedded"] == 0 and gradients["hyper"] > 0


def test_pictures_that_scales_cannot_hold_are_refused():
    objective = MetaInternalObjectiveConfig(scale=0).build(MetaInternal(TINY))
    with pytest.raises(ValueError, match="the longest edge may be 8 times the shortest"):
        objective.check(batch_of((2, 24)), None)
    with pytest.raises(ValueError, match="fewer than the last scale's 24"):
        objective.check(batch_of((12, 20)), None)
    with pytest.raises(ValueError, match="scale must be below model.scales = 3, got 3"):
        MetaInternalObjectiveConfig(scale=3).build(MetaInternal(TINY))
    with pytest.raises(ValueError, match="set objective.critic to 'shared'"):
        MetaInternalObjectiveConfig(scale=0).build(MetaInternal(replace(TINY, heads="table"))).check(batch_of((18, 24)), None)


def after_training(kind, steps=160, heads="low_rank", optimizer=lambda p: torch.optim.Adam(p, 2e-3, (0.5, 0.999)), embedding=None):
    """(share of pixels in samples that have the other picture's colours, the samples): one is red and black, one blue and white.

    Args:
        embedding: begin with one so much smaller than it would be, and not normalised.
    """
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    y, x = torch.meshgrid(*[torch.arange(16)] * 2, indexing="ij")
    red, black, blue, white = (torch.tensor(c).view(3, 1, 1) for c in ([1.0, -1, -1], [-1.0, -1, -1], [-1.0, -1, 1], [1.0, 1, 1]))
    pictures = torch.stack([torch.where(x // 2 % 2 == 0, red, black), torch.where((x // 3 + y // 3) % 2 == 0, blue, white)])
    config = MetaInternalConfig(coarsest=16, finest=16, scales=1, width=24, layers=3, embedding=32, rank=8, heads=heads)
    model = MetaInternal(config)
    objective = MetaInternalObjectiveConfig(scale=0, critic=kind, reconstruction=0.0).build(model)
    if embedding is not None:
        encoders = [model.encoder, *([objective.critic.encoder] if kind == "hyper" else [])]
        for encoder in encoders:
            encoder.out[1] = nn.Identity()
        for p in model.encoder.out.parameters():
            p.data.mul_(embedding)
    objective.begin(iter([Batch(pictures)] * 300))
    optimizers = [optimizer([p for m in f.trains for p in m.parameters()]) for f in objective.phases()]
    for step in range(steps):
        for phase, each in zip(objective.phases(), optimizers):
            parts = [*model.parameters(), *objective.critic.parameters()]
            for p in parts:
                p.grad = None
            phase.total(Batch(pictures, seed=step))[0].backward()
            each.step()
    with torch.no_grad():
        theta = model.all_weights(model.embed(pictures))
        samples = model.generate(theta, model.draw(2, [(16, 16)], torch.Generator().manual_seed(0)), [(16, 16)])[-1]
    distances = torch.stack([(samples - c).square().sum(1) for c in (red, black, blue, white)])
    blue_or_white = distances.argmin(0) >= 2
    return ((blue_or_white[0].float().mean() + (~blue_or_white[1]).float().mean()) / 2).item(), samples


def test_patches_leak_through_a_shared_critic_and_not_through_each_pictures_own():
    """Fig. 2 and Sec. 4.2: without reconstruction, a shared critic is content with the other picture's patches."""
    assert after_training("shared")[0] > 0.4  # half of all pixels is what one generator for both has
    assert after_training("hyper")[0] < 0.05


@pytest.mark.parametrize("embedding", [0.0, 0.03])
def test_generators_stay_collapsed_where_the_critic_shares_their_embedding(embedding):
    """App. A.2: gradient descent does not leave an embedding of 0, nor one near it; with two embeddings it does."""
    start = {"heads": "dense", "optimizer": lambda p: torch.optim.SGD(p, 3e-4), "embedding": embedding, "steps": 100}
    assert after_training("embedded", **start)[1].std() < 0.02  # one colour
    leaked, samples = after_training("hyper", **start)
    assert leaked < 0.1 and samples.std() > 0.5
