"""Optimizers: their schedules, Muon's steps, clipping."""

import math

import pytest
import torch
from torch import nn

from predella.errors import UserError
from predella.recipe import override, read_recipe
from predella.recipes import find_recipe
from predella.run import start
from predella.train.engine import Engine
from predella.train.optim import Optim


def test_schedules():
    optim = Optim(warmup=10, schedule="cosine")
    values = [optim.factor(k, 100) for k in range(101)]
    assert values[0] == pytest.approx(0.1, rel=0.01) and max(values) < 1 and values[100] == pytest.approx(0)
    assert Optim(schedule="linear").factor(25, 100) == 0.75 and Optim().factor(99, 100) == 1
    assert Optim(schedule="cosine").factor(25, 100) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert [Optim(schedule="drop").factor(k, 100) for k in (0, 79, 80, 99)] == [1, 1, 0.1, 0.1]


def test_two_steps_are_adamws():
    """With its momenta and its decay, for slow parameters, too."""
    nets = [nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    ours = Optim(lr=0.1, betas=(0.5, 0.8), weight_decay=0.2, slow=("1.*",), slow_lr=0.01).build([nets[0]])
    groups = [{"params": nets[1][0].parameters(), "lr": 0.1}, {"params": nets[1][1].parameters(), "lr": 0.01}]
    theirs = torch.optim.AdamW(groups, betas=(0.5, 0.8), weight_decay=0.2)
    for _ in range(2):
        for a, b in zip(nets[0].parameters(), nets[1].parameters()):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        ours.step(1.0)
        theirs.step()
    for a, b in zip(nets[0].parameters(), nets[1].parameters()):
        torch.testing.assert_close(a, b)


def test_muon_steps_are_orthogonal_and_scale_free():
    """The update of a kernel has singular values near 1 · lr whatever the gradient's size: Muon's defining property."""
    net = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Linear(2, 2))
    optimizer = Optim(lr=1e-3, muon=("0.weight",), muon_lr=0.1).build([net])
    before = net[0].weight.detach().clone()
    for p in net.parameters():
        p.grad = torch.randn_like(p) * 1e-6
    optimizer.step(1.0)
    step = (before * (1 - 0.1 * 0.01) - net[0].weight.detach()).reshape(6, 36)
    singular = torch.linalg.svdvals(step)
    assert singular.min() > 0.05 and singular.max() < 0.13
    with pytest.raises(ValueError, match="names none"):
        Optim(muon=("nothing.*",)).build([net])


def test_muon_without_momentum_forgets_earlier_gradients():
    nets = [nn.Linear(3, 2, bias=False) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [Optim(muon=("weight",), muon_lr=0.1, muon_decay=0.0, muon_momentum=0.0).build([net]) for net in nets]
    gradient = torch.randn(2, 3)
    for first, net, optimizer in zip((gradient, -gradient), nets, optimizers):
        net.weight.grad = first
        optimizer.step(0.0)  # nothing moves, the gradient is seen
        net.weight.grad = gradient
        optimizer.step(1.0)
    torch.testing.assert_close(nets[0].weight, nets[1].weight)
    with pytest.raises(ValueError, match=r"muon_momentum must lie in \[0, 1\), got 1"):
        Optim(muon_momentum=1.0)


def test_clip_bounds_the_gradient():
    net = nn.Linear(3, 1)
    optimizer = Optim(clip=0.5).build([net])
    for p in net.parameters():
        p.grad = torch.full_like(p, 100.0)
    optimizer.step(1.0)
    assert torch.cat([p.grad.flatten() for p in net.parameters()]).norm() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("able", "slower"),
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_a_precision_that_the_processor_emulates_is_known(monkeypatch, able, slower):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert Engine("cpu", "bf16").emulates is slower
    assert not Engine("cpu").emulates  # float32 never is


def test_training_says_that_its_precision_is_emulated(tmp_path, monkeypatch, caplog):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"})
    for precision, said in (("bf16", True), ("no", False)):
        caplog.clear()
        start(override(find_recipe("functional_sr")(smoke=True), {"precision": precision}), tmp_path / precision, "test", cpu=True)
        assert ("no bf16 arithmetic" in caplog.text) is said


@pytest.mark.parametrize(("field", "value"), [("lr", -1.0), ("lr", math.nan), ("muon_lr", math.inf), ("clip", -0.1), ("warmup", -1)])
def test_rates_are_0_or_more(field, value):
    with pytest.raises(ValueError, match=f"{field} must be 0 or more, got {value}"):
        Optim(**{field: value})


def test_a_recipe_of_elsewhere_is_told_in_one_short_line():
    recipe = find_recipe("tower_jpeg")(smoke=True)
    with pytest.raises(UserError, match="seed must lie in 0…2"):
        override(recipe, {"seed": "-1"})
    with pytest.raises(UserError) as refused:
        read_recipe(recipe.to_json().replace('"kind": "decompression"', '"kind": "denoising"'))
    assert "task.kind 'denoising' is not known here; known: " in str(refused.value) and "decompression" in str(refused.value)
    assert len(str(refused.value)) < 300
