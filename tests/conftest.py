"""float64 by default; one thread a worker; nothing outside tmp_path is written."""

import os
import threading
import time
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

torch.set_num_threads(1)
settings.register_profile("predella", deadline=None)  # time is no property of a function on a busy machine
settings.load_profile("predella")


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def photo(tmp_path):
    """A small colour PNG with smooth and sharp parts, and its path."""
    path = tmp_path / "photo.png"
    Image.fromarray(picture(40, 56)).save(path)
    return path


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: waves and a bright box."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(0.2 * (k + 1) * x + 0.13 * y * (seed + 1)) for k in range(3)]
    out = np.stack(waves, -1).astype(np.uint8)
    out[height // 3 : height // 2, width // 4 : width // 2] = (250, 240, 20)
    return out


@pytest.fixture
def cli(capsys):
    """Run the command line in this process: cli("upscale", …) → (status, out, err)."""
    from predella.cli import main

    def run(*words):
        capsys.readouterr()
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)  # as a user's process has it
        try:
            status = main([str(w) for w in words])
        except SystemExit as stop:
            status = stop.code
        finally:
            torch.set_default_dtype(before)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refuses(cli):
    """Assert that a command is a user's mistake: exit status 2, one line that holds all of the given words."""

    def check(*words, says):
        status, out, err = cli(*words)
        lines = [line for line in err.splitlines() if line.startswith("predella: ")]
        assert status == 2, (status, err)
        assert len(lines) == 1 and "Traceback" not in err, err
        for word in [says] if isinstance(says, str) else says:
            assert word in lines[0], lines[0]

    return check


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The web page, served as long as a module's tests run: its address, and the place that it makes its folder in."""
    from predella.studio.page import serve

    place, address, stop = tmp_path_factory.mktemp("studio"), [], threading.Event()
    patch = pytest.MonkeyPatch()
    patch.setattr("tempfile.tempdir", str(place))
    server = threading.Thread(target=serve, args=(0, address.append, stop))
    server.start()
    while server.is_alive() and not address:
        time.sleep(0.1)
    yield SimpleNamespace(address=address[0], place=place)
    stop.set()
    server.join(60)
    patch.undo()
    assert not server.is_alive() and not list(place.glob("predella-studio-*")), "what was made is gone with the page"
    assert "GRADIO_TEMP_DIR" not in os.environ


def smoke_runs(place, *names):
    """Smoke-trained run folders in `place`, one a recipe."""
    from predella.recipes import find_recipe
    from predella.run import start

    torch.set_default_dtype(torch.float32)
    for name in names:
        start(find_recipe(name)(smoke=True), place / name, "test", cpu=True)
    return place


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return smoke_runs(tmp_path_factory.mktemp("runs"), "functional_sr", "functional_fill", "reversible_faces")


@pytest.fixture(scope="session")
def towers(tmp_path_factory):
    return smoke_runs(tmp_path_factory.mktemp("towers"), "tower_color", "tower_jpeg", "tower_sr16", "tower_mnist_pca", "tower_layout")


@pytest.fixture(scope="session")
def internals(tmp_path_factory):
    return smoke_runs(tmp_path_factory.mktemp("internals"), "meta_internal_dataset", "meta_internal_plain", "meta_internal_dataset_windows")


@pytest.fixture(scope="session")
def densities(tmp_path_factory):
    return smoke_runs(tmp_path_factory.mktemp("densities"), "cq_mnist_vae", "cq_cifar_cqf")


@pytest.fixture(scope="session")
def curves(tmp_path_factory):
    return smoke_runs(tmp_path_factory.mktemp("curves"), "functional_digits", "functional_faces", "functional_faces_blends")


@pytest.fixture
def vgg_weights(tmp_path, monkeypatch):
    """A folder with stand-ins for VGG16's weights, known by their digest."""
    from dataclasses import replace

    from safetensors.torch import save_file

    from predella import weights as standard
    from predella.nn.classics import VGG16

    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    tensors = {k: v.half() for k, v in VGG16().state_dict().items()}
    save_file(tensors, folder / "vgg16_features.safetensors")
    digest = standard.half_digest(tensors, "features.")
    monkeypatch.setitem(standard.CLASSICS, "vgg16", replace(standard.CLASSICS["vgg16"], digest=digest))
    return folder


@pytest.fixture
def lpips_weights(vgg_weights, monkeypatch):
    """Stand-ins for LPIPS's channel weights beside those of VGG16."""
    from dataclasses import replace

    from safetensors.torch import save_file

    from predella import weights as standard

    torch.manual_seed(0)
    heads = {f"vgg.lin{i}": torch.rand(1, c, 1, 1).half() for i, c in enumerate((64, 128, 256, 512, 512))}
    save_file(heads, vgg_weights / "lpips_heads.safetensors")
    digest = standard.half_digest(heads, "vgg.")
    monkeypatch.setitem(standard.LPIPS, "vgg16", replace(standard.LPIPS["vgg16"], digest=digest))
    return vgg_weights
