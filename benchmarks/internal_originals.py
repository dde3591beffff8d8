"""Pictures for the documentation: edits, harmonised pastes, animations and other sizes, all by one model.

    python -m benchmarks.internal_originals --data SINGAN_INPUT      # 2 CPU cores, an hour

SINGAN_INPUT is the folder Input of the single-image GAN's release (Shaham et al. 2019): Images, Editing, Harmonization. One
`meta_internal_dataset` is trained on PICTURES together; all the rest is the command line. White boxes that some copies of the pictures
have are filled from the pastes onto them.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tables import predella
from predella.apps.sheet import sheet
from predella.image.files import Picture, read, write
from predella.image.resize import resize

PICTURES = (
    "stone",
    "tree",
    "starry_night",
    "seascape",
    "lightning1",
    "mountains",
    "volacano",
    "trees3",
    "colusseum",
    "mountains3",
    "wild_bush",
)
EDITS = {"stone": "stone_edit", "tree": "tree_edit"}
PASTES = {"starry_night": "starry_night_naive", "seascape": "tree"}
MOVING = ("lightning1", "volacano")
WIDE = ("stone", "mountains")


def found(folder: Path, name: str) -> Path:
    """The file of that name, whatever its ending."""
    (file,) = folder.glob(f"{name}.*")
    return file


def prepared(data: Path, out: Path) -> None:
    """PICTURES without alpha, no longer than 300 pixels unless something is pasted on them; boxes of white filled."""
    for name in PICTURES:
        pixels = read(found(data / "Images", name)).rgb()
        if name in PASTES:
            pasted = read(found(data / "Harmonization", PASTES[name])).rgb()
            pixels = torch.where((pixels == 1).all(1, keepdim=True), pasted, pixels)
        elif max(pixels.shape[-2:]) > 300:
            share = 300 / max(pixels.shape[-2:])
            pixels = resize(pixels, (round(pixels.shape[-2] * share), round(pixels.shape[-1] * share))).clamp(-1, 1)
        write(Picture(pixels), out / f"{name}.png", True)


def shown(files: list[Path], height: int = 160) -> Tensor:
    """(1, 3, height, …): pictures side by side."""
    pictures = [read(f).rgb() for f in files]
    same = [resize(p, (height, round(p.shape[-1] * height / p.shape[-2]))).clamp(-1, 1) for p in pictures]
    return torch.cat([sheet([p]) for p in same], -1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.internal_originals")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help="a scale (default: the recipe's)")
    parser.add_argument("--more", default="", help="further options of predella train, in one argument")
    parser.add_argument("--out", type=Path, default=Path("runs/internal_originals"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/internal"), help="of the page")
    options = parser.parse_args()
    images, run, made = options.out / "pictures", options.out / ("model" + f"_{options.steps}" * bool(options.steps)), options.out / "made"
    prepared(options.data, images)
    if not (run / "README.md").exists():  # written last
        steps = [w for i in range(5) for w in (f"--stages.{i}.steps", str(options.steps))] if options.steps else []
        resume = ["--resume"] if (run / "state").exists() else ["--force"] if run.exists() else []
        predella("train", "meta_internal_dataset", "--data", str(images), *steps, *options.more.split(), "--out", str(run), *resume)
    model = ["--model", str(run), "--force"]
    for verb, folder, changes in (("edit", "Editing", EDITS), ("harmonize", "Harmonization", PASTES)):
        for name, changed in changes.items():
            onto, image, mask = (
                images / f"{name}.png",
                found(options.data / folder, changed),
                found(options.data / folder, f"{changed}_mask"),
            )
            out = made / f"{verb}_{name}.png"
            predella(verb, str(image), "--mask", str(mask), "--onto", str(onto), "--out", str(out), *model)
            write(Picture(shown([onto, image, out])), options.pictures / out.name, True)
    for name in MOVING:
        predella("animate", str(images / f"{name}.png"), "--frames", "24", "--out", str(options.pictures / f"animate_{name}.webp"), *model)
    for name in WIDE:
        predella("vary", str(images / f"{name}.png"), "--count", "2", "--out", str(made), *model)
        predella("vary", str(images / f"{name}.png"), "--count", "1", "--size", "256x86", "--out", str(made / "wide"), *model)
        files = [images / f"{name}.png", made / f"{name}-1.png", made / f"{name}-2.png", made / "wide" / f"{name}-1.png"]
        write(Picture(shown(files, 86)), options.pictures / f"vary_{name}.png", True)


if __name__ == "__main__":
    main()
