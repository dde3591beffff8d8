"""Metrics of two sets: equal to torchmetrics with the same features, to closed forms, and independent of the batch size."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from predella import weights as standard
from predella.errors import UserError
from predella.metrics import features as feats
from predella.metrics.coverage import precision_recall
from predella.metrics.frechet import frechet_distance, frechet_gaussians
from predella.metrics.kernel import kernel_distance
from predella.metrics.sets import count_name, measure_sets, parse
from predella.nn.classics import VGG16, AlexNet, CIFARResNet20, FIDInception


class Mean(nn.Module):
    """8 numbers an image."""

    def forward(self, x):
        x = x.double()
        return torch.cat([x.mean((2, 3)), x.std((2, 3)), x.amax((2, 3))[:, :2]], 1)


def two_sets(n=60, m=50):
    g = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (n, 3, 6, 6), dtype=torch.uint8, generator=g)
    generated = (torch.randint(0, 256, (m, 3, 6, 6), dtype=torch.uint8, generator=g) * 0.8).to(torch.uint8)
    return real, generated


def test_frechet_is_that_of_torchmetrics():
    real, generated = two_sets()
    metric = FrechetInceptionDistance(feature=Mean(), input_img_size=(3, 6, 6)).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    got = frechet_distance(Mean()(real), Mean()(generated))
    assert got == pytest.approx(metric.compute().item(), rel=1e-6)


def test_kernel_is_that_of_torchmetrics():
    real, generated = two_sets(50, 50)
    metric = KernelInceptionDistance(feature=Mean(), subsets=1, subset_size=50)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    got, _ = kernel_distance(Mean()(real) / 255, Mean()(generated) / 255)
    metric.real_features = [f / 255 for f in metric.real_features]
    metric.fake_features = [f / 255 for f in metric.fake_features]
    assert got == pytest.approx(metric.compute()[0].item(), rel=1e-6)


def test_frechet_of_gaussians_is_the_closed_form():
    """Commuting covariances: ‖Δμ‖² + Σ (√a - √b)²."""
    a, b = torch.tensor([1.0, 4.0, 0.25]), torch.tensor([9.0, 1.0, 0.0])
    got = frechet_gaussians(torch.zeros(3), a.diag(), torch.tensor([1.0, 2.0, 0.0]), b.diag())
    assert got == pytest.approx(5 + (a.sqrt() - b.sqrt()).square().sum().item())
    x = torch.randn(40, 5)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 2) == pytest.approx(20)


def test_kernel_subsets_are_seeded_and_near_the_whole():
    x, y = torch.randn(200, 4), torch.randn(300, 4) + 0.5
    whole, spread = kernel_distance(x, y, subsets=200, subset_size=100)
    assert kernel_distance(x, y, subsets=200, subset_size=100) == (whole, spread) and spread > 0
    assert whole == pytest.approx(kernel_distance(x, y[:200], subset_size=200)[0], rel=0.3)


def test_which_argument_is_real():
    """Generated items in one corner of the real set: precise, without recall; exchanged: the other way."""
    real = torch.rand(300, 2)
    generated = torch.rand(300, 2) * 0.2
    precision, recall = precision_recall(real, generated)
    assert precision > 0.8 and recall < 0.2
    assert precision_recall(generated, real) == (recall, precision)
    values = measure_sets(["precision_vgg16_relu5_3", "recall_vgg16_relu5_3"], lambda name: real, lambda name: generated)
    assert values == {"precision_vgg16_relu5_3_300": precision, "recall_vgg16_relu5_3_300": recall}


def test_precision_and_recall_by_hand():
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])  # radii to the first neighbour: 1, 1, 1, 8
    generated = torch.tensor([[3.5], [1.5], [-0.5], [30.0]])  # radii: 2, 2, 2, 26.5
    assert precision_recall(real, generated, neighbours=1) == (0.75, 1.0)


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_batch_size_changes_nothing(batch):
    real = two_sets(23)[0].repeat_interleave(3, 2).repeat_interleave(3, 3)
    network = VGG16().eval()
    whole = network(real / 127.5 - 1)[2].mean((2, 3))
    got = feats.collect(lambda x: network(x)[2].mean((2, 3)), iter(real / 127.5 - 1), batch)
    torch.testing.assert_close(got, whole, atol=1e-10, rtol=1e-10)


def test_the_graphs_have_their_parameters_and_shapes():
    with torch.device("meta"):
        counts = {c.__name__: sum(p.numel() for p in c().parameters()) for c in (VGG16, AlexNet, FIDInception, CIFARResNet20)}
    assert counts == {"VGG16": 14_714_688, "AlexNet": 2_469_696, "FIDInception": 23_850_960, "CIFARResNet20": 269_722}
    maps = VGG16()(torch.zeros(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert len(VGG16()(torch.zeros(1, 3, 32, 32), 2)) == 2
    assert [m.shape[1] for m in AlexNet()(torch.zeros(1, 3, 31, 31))] == [64, 192, 384, 256, 256]


def test_inception_runs_and_names_its_parameters_as_the_official_file():
    network = FIDInception().eval()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 2048)
    names = set(network.state_dict())
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_2.bn.running_var", "Mixed_6c.branch7x7dbl_5.conv.weight",
            "Mixed_7c.branch3x3dbl_3b.bn.bias"} <= names  # fmt: skip
    assert len(names) == 94 * 6 + 2  # a kernel and five numbers of its normalisation each; the classifier
    assert network.logits(torch.zeros(1, 3, 32, 32)).shape == (1, 1008)


def test_the_cifar_network_is_that_of_its_state_dict(tmp_path):
    torch.manual_seed(0)
    network = CIFARResNet20().eval()
    assert len(network.state_dict()) == 97 + 19 and {"layer2.0.bn1.num_batches_tracked", "linear.bias"} <= set(network.state_dict())
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    assert network(x).shape == (2, 64) and network.logits(x).shape == (2, 10)
    block, h = network.layer2[0], torch.rand(1, 16, 8, 8)
    for p in block.parameters():
        p.data.zero_()  # the shortcut alone: every second pixel, zeros around its channels
    torch.testing.assert_close(block(h)[:, 8:24], h[..., ::2, ::2])
    with pytest.raises(UserError, match="no weights of resnet20; put resnet20-12fca82f.th"):
        feats.load_features("resnet20", tmp_path)


def test_the_pooling_of_the_2015_graph_leaves_the_padding_out():
    block = FIDInception().Mixed_5b
    seen = []
    block.branch_pool.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    block.eval()(torch.ones(1, 192, 4, 4))
    torch.testing.assert_close(seen[0], torch.ones(1, 192, 4, 4))  # a mean that counted zeros would be 4/9 in the corners


def test_the_last_block_pools_by_the_maximum():
    """The FID authors' graph does, where torchvision's takes the mean."""
    network, x = FIDInception().eval(), torch.zeros(1, 2048, 5, 5)
    x[..., 2, 2] = 9.0
    for block, wanted in ((network.Mixed_7c, 9.0), (network.Mixed_7b, None)):
        seen = []
        block.branch_pool.register_forward_pre_hook(lambda m, a, seen=seen: seen.append(a[0]))
        block(x[:, :1280] if wanted is None else x)
        assert seen[0][0, 0, 1:4, 1:4].eq(9.0 if wanted else 1.0).all()


def test_measure_on_the_command_line(cli, tmp_path, monkeypatch, vgg_weights):
    weights = vgg_weights
    real, generated = two_sets(12, 11)
    for name, stack in (("real", real), ("generated", generated)):
        np.savez(tmp_path / f"{name}.npz", x=stack.repeat_interleave(3, 2).repeat_interleave(3, 3).numpy())
    words = [
        "measure",
        "fd_vgg16_relu4_3",
        "recall_vgg16_relu2_2",
        "--real",
        tmp_path / "real.npz",
        "--generated",
        tmp_path / "generated.npz",
    ]
    status, out, _ = cli(*words, "--weights", weights, "--json")
    answer = json.loads(out)
    assert status == 0 and (answer["real"], answer["generated"]) == (12, 11)
    assert set(answer["values"]) == {"fd_vgg16_relu4_3_11", "recall_vgg16_relu2_2_11"} and answer["values"]["fd_vgg16_relu4_3_11"] > 0
    monkeypatch.setenv("PREDELLA_WEIGHTS", str(weights))
    assert json.loads(cli(*words, "--json")[1]) == answer


def test_only_the_standard_weights_give_numbers_their_name(tmp_path, vgg_weights):
    torch.manual_seed(1)
    other = {k: v.half() for k, v in VGG16().state_dict().items()}
    save_file(other, vgg_weights / "vgg16_features.safetensors")
    with pytest.raises(UserError, match="does not hold the standard weights of vgg16"):
        feats.load_features("vgg16_relu4_3", vgg_weights)
    save_file({"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3)}, vgg_weights / "inception_v3.safetensors")
    with pytest.raises(UserError, match="no weights of inception"):
        feats.load_features("inception", vgg_weights)


def test_images_too_small_for_a_layer(vgg_weights):
    features = feats.load_features("vgg16_relu4_3", vgg_weights)
    with pytest.raises(UserError, match="at least 8 pixels, got 7×9; take an earlier layer"):
        features(torch.zeros(1, 3, 9, 7).float())
    assert feats.load_features("vgg16_relu2_2", vgg_weights)(torch.zeros(1, 3, 9, 9).float()).shape == (1, 128)


def test_weights_that_are_missing_or_altered(tmp_path, monkeypatch):
    monkeypatch.delenv("PREDELLA_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=r"no weights of inception; put pt_inception.* \(from https://github"):
        feats.load_features("inception", tmp_path)
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"not the file")
    with pytest.raises(UserError, match="does not begin with 397923af"):
        feats.load_features("vgg16_relu4_3", tmp_path)
    half = {"features.0.weight": torch.zeros(1).half()}
    save_file(half, tmp_path / "alexnet.safetensors")
    monkeypatch.setitem(standard.CLASSICS, "alexnet", replace(standard.CLASSICS["alexnet"], digest=standard.half_digest(half, "features.")))
    with pytest.raises(UserError, match="other parameters than expected"):
        feats.load_features("alexnet_relu5", tmp_path)
    with pytest.raises(UserError, match="did you mean 'vgg16_relu5_3'"):
        feats.load_features("vgg16_relu5_4")
    import pooch

    def offline(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(UserError, match=r"could not be fetched from https.*put .* into a folder and name it by --weights"):
        feats.load_features("inception")


def test_wrong_input(refuses, tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 9, 9, 3), np.uint8))
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 12, 9, 3), np.uint8))
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    refuses("measure", "fdi", "--real", a, "--generated", a, says="did you mean 'fid'")
    refuses("measure", "fid", "--real", a, "--generated", b, says=["one size", "9×12"])
    refuses("measure", "fid", "--real", a, says="--real A and --generated B")
    refuses("measure", "psnr_y", says="either --pairs A B")
    refuses("measure", "fid", "--real", a, "--generated", a, "--weights", tmp_path, says=["no weights of inception", "put pt_inception"])
    refuses("measure", "fid", "--real", a, "--generated", a, "--weights", tmp_path / "none", says="is no folder")


@pytest.mark.parametrize("bad", [torch.zeros(1, 3), torch.zeros(3)])
def test_too_few_features(bad):
    good = torch.randn(5, 3)
    for statistic in (frechet_distance, kernel_distance, precision_recall):
        with pytest.raises(ValueError, match="must|more items"):
            statistic(good, bad)


def test_names():
    assert parse("fid") == ("fd", "inception") and parse("kd_alexnet_relu2") == ("kd", "alexnet_relu2")
    assert [count_name(n) for n in (999, 1000, 50_000)] == ["999", "1k", "50k"]


@pytest.mark.skipif("PREDELLA_WEIGHTS" not in os.environ, reason="needs the standard weights")
def test_standard_features_tell_photos_from_noise():
    from skimage import data

    photos = torch.stack([torch.from_numpy(np.array(Image.fromarray(p()).convert("RGB").resize((64, 64)))) for p in
                          (data.astronaut, data.coffee, data.chelsea, data.rocket)]).permute(0, 3, 1, 2) / 127.5 - 1  # fmt: skip
    features = feats.load_features("vgg16_relu4_3", Path(os.environ["PREDELLA_WEIGHTS"]))
    a, b, noise = features(photos.float()), features(photos.flip(-1).float()), features(torch.rand(4, 3, 64, 64).float() * 2 - 1)
    assert frechet_distance(a, b) < 0.2 * frechet_distance(a, noise)
