"""Patches of other pictures in samples of one, with a critic for all of them and with each picture's own (Bensadoun et al. 2021, Fig. 2).

    python -m benchmarks.internal_leakage --data PICTURES --part 0,5 --picture docs/internal_leakage.png     # 2 CPU cores, 2 h

Trains `meta_internal_batch` on the pictures twice, by the command line, and counts the patches of each picture's samples that are nearer
to another picture than to its own (`leakage_hyper`, `leakage_shared`), and those that are so by far: at most `CLEAR` times as far from
the other as from its own (`…_clear`). Pictures look alike in places, so a model of one picture, which never saw another, has such patches,
too: what they are by chance (`leakage_alone`). `--reconstruction 0` trains without what by itself ties a generator to its picture;
`--window 32` takes a fifth of the time: at all scales but the first windows, and an embedding that rests. The file shows a picture, a
sample with its own critic, and one with the shared.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import tables
from benchmarks.tables import windowed
from benchmarks.timing import parser_of, report
from predella.apps.internal import at_home, variations, weights_of
from predella.apps.sheet import framed, sheet
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.image.files import Picture, write
from predella.metrics.fidelity import mean
from predella.metrics.internal import leakage
from predella.models.base import load
from predella.models.meta_internal import MetaInternal
from predella.recipes.meta_internal import MODEL

SAMPLES = 10
CLEAR = 0.8  # Lowe 2004


def trained(options: argparse.Namespace, critic: str, first: int, last: int) -> MetaInternal:
    """The model of these pictures with this critic, trained now if its folder is not there."""
    fields = {"data.part": f"{first},{last}", "data.terms": options.terms}
    for i in range(MODEL.scales):
        each = {"steps": options.steps, "objective.reconstruction": options.reconstruction,
                "objective.critic": "shared" if critic == "shared" else "hyper"}  # fmt: skip
        fields |= {f"stages.{i}.{k}": str(v) for k, v in each.items()}
    fields |= windowed(options.window, MODEL.scales)
    out = options.out / f"leakage_{critic}_{options.steps}_{first}_{last}"
    model = load(tables.trained(out, "meta_internal_batch", options.data, fields, options.more))
    assert isinstance(model, MetaInternal)
    return model


def samples(models: list[MetaInternal], pictures: list[Tensor]) -> list[list[Tensor]]:
    """For each picture SAMPLES of its generator, from the model at its place, (1, 3, h, w)."""
    generator, out = torch.Generator().manual_seed(0), []
    for model, picture in zip(models, pictures):
        size = (picture.shape[-2], picture.shape[-1])
        out.append(list(variations(model, weights_of(model, picture), size, SAMPLES, generator)))
    return out


def main() -> None:
    parser = parser_of("internal_leakage")
    parser.add_argument("--data", required=True, help="a folder of pictures")
    parser.add_argument("--part", default="0,5", help="first,last picture (default: 0,5)")
    parser.add_argument("--terms", default="", help="of the pictures")
    parser.add_argument("--steps", type=int, default=400, help="a scale (default: 400)")
    parser.add_argument("--reconstruction", type=float, default=50.0, help="λ₂ (default: 50)")
    parser.add_argument("--window", type=int, default=0, help="pixels that a step looks at (default: 0 = all)")
    parser.add_argument("--more", default="", help="further options of predella train, in one argument")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--picture", type=Path, default=Path("internal_leakage.png"), help="to be written")
    options = parser.parse_args()
    first, last = map(int, options.part.split(","))
    models = {critic: [trained(options, critic, first, last)] * (last - first) for critic in ("hyper", "shared")}
    models["alone"] = [trained(options, "alone", i, i + 1) for i in range(first, last)]
    home = models["hyper"][0]
    images = Source(paths=(options.data,), longest=home.edges[-1], part=(first, last)).open()
    pictures = [at_home(home, from_uint8(images[i])[None], images.names[i]) for i in range(len(images))]
    made, figures = {critic: samples(each, pictures) for critic, each in models.items()}, {}
    for critic, of in made.items():
        for ratio, name in ((1.0, ""), (CLEAR, "_clear")):
            each = [mean([leakage(s, own, pictures[:i] + pictures[i + 1 :], ratio=ratio) for s in of[i]]) for i, own in enumerate(pictures)]
            print(critic + name, "by picture:", " ".join(f"{v:.3f}" for v in each), flush=True)
            figures[f"leakage_{critic}{name}"] = mean(each)
    shown = [x for i, own in enumerate(pictures) for x in (own, made["hyper"][i][0], made["shared"][i][0])]
    write(Picture(sheet(framed(shown, 3))), options.picture, force=True)
    report(options, figures, [f"{len(pictures)} pictures, {SAMPLES} samples each"])


if __name__ == "__main__":
    main()
