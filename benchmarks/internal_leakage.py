"""Patches of other pictures in samples of one, with a critic for all of them and with each picture's own (Bensadoun et al. 2021, Fig. 2).

    python -m benchmarks.internal_leakage --data PICTURES --part 0,5 --picture docs/internal_leakage.png     # 2 CPU cores, 40 min

Trains `meta_internal_batch` on the pictures twice, by the command line, and counts the patches of each picture's samples that are nearer
to another picture than to its own (`leakage_hyper`, `leakage_shared`). `--reconstruction 0` trains without what by itself ties a
generator to its picture; `--window 32` takes a fifth of the time: at all scales but the first windows, and an embedding that rests. The
file shows a picture, a sample with its own critic, and one with the shared.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tables import predella
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

CRITICS, SAMPLES = ("hyper", "shared"), 10


def trained(options: argparse.Namespace, critic: str) -> MetaInternal:
    """The model of all pictures with this critic, trained now if its folder is not there."""
    out, (first, last) = options.out / f"leakage_{critic}_{options.steps}", options.part.split(",")
    if not (out / "README.md").exists():  # written last
        fields = {"data.part": options.part, "data.terms": options.terms}
        for i in range(MODEL.scales):
            each = {"steps": options.steps, "batch_size": int(last) - int(first), "objective.critic": critic,
                    "objective.reconstruction": options.reconstruction}  # fmt: skip
            if options.window and i:
                each |= {"objective.window": options.window, "objective.accumulate": "false", "objective.embed": "false"}
            fields |= {f"stages.{i}.{k}": str(v) for k, v in each.items()}
        words = [w for k, v in fields.items() if v for w in (f"--{k}", v)]
        resume = ["--resume"] if (out / "state").exists() else ["--force"] if out.exists() else []
        predella("train", "meta_internal_batch", "--data", options.data, *words, "--out", str(out), *options.more.split(), *resume)
    model = load(out)
    assert isinstance(model, MetaInternal)
    return model


def samples(model: MetaInternal, pictures: list[Tensor]) -> list[list[Tensor]]:
    """For each picture SAMPLES of its generator, (1, 3, h, w)."""
    generator, out = torch.Generator().manual_seed(0), []
    for picture in pictures:
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
    models = {critic: trained(options, critic) for critic in CRITICS}
    first, last = map(int, options.part.split(","))
    images = Source(paths=(options.data,), longest=models["hyper"].edges[-1], part=(first, last)).open()
    pictures = [at_home(models["hyper"], from_uint8(images[i])[None], images.names[i]) for i in range(len(images))]
    made, figures = {critic: samples(model, pictures) for critic, model in models.items()}, {}
    for critic, of in made.items():
        each = [mean([leakage(s, own, pictures[:i] + pictures[i + 1 :]) for s in of[i]]) for i, own in enumerate(pictures)]
        print(critic, "by picture:", " ".join(f"{v:.3f}" for v in each), flush=True)
        figures[f"leakage_{critic}"] = mean(each)
    shown = [x for i, own in enumerate(pictures) for x in (own, made["hyper"][i][0], made["shared"][i][0])]
    rows = torch.cat(framed(shown)).split(3)
    write(Picture(sheet(list(rows))), options.picture, force=True)
    report(options, figures, [f"{len(pictures)} pictures, {SAMPLES} samples each"])


if __name__ == "__main__":
    main()
