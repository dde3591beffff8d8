"""Fill the holes of a photo: the hypernetwork sees image × mask and the mask, and answers with one field a pixel.

    predella train functional_fill --data BSDS500_train BSDS500_test T91     # 2 CPU cores, about 50 min
    predella train functional_fill --smoke                                   # 2 CPU cores, 20 s

The paper names the use (abstract) and gives no number. Here: see RESULTS.md, beside classical inpainting.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.functional_image import CellFields, FunctionalImageConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.masking import Masking


def functional_fill(smoke: bool = False) -> Recipe:
    """Fill holes (strokes, boxes, text-like marks); a U-shaped encoder, because a hole's answer stands around it."""
    optim = Optim(
        lr=2e-3, weight_decay=1e-4, clip=1.0, warmup=100, schedule="cosine", muon_lr=0.01,
        muon=tuple(f"paint.encoder.{part}.weight" for part in ("body.*", "down1", "down2", "up1", "up2", "tail.*")),
    )  # fmt: skip
    field = CellFields(width=8, blocks=1, hidden=4, encoder="unet") if smoke else CellFields(width=24, blocks=8, hidden=16, encoder="unet")
    first = Stage(
        steps=20 if smoke else 1500,
        batch_size=4 if smoke else 16,
        objective=FunctionalImageObjective(queries=1, hole_weight=10.0),
        optim={"hypernetwork": optim},
    )
    larger = replace(first, name="larger", steps=5 if smoke else 2300, batch_size=2 if smoke else 8,
                     task=Masking(edge=48 if smoke else 96))  # fmt: skip
    squares = replace(larger, name="squares", steps=5 if smoke else 1000,
                      objective=FunctionalImageObjective(distance="l2", queries=1, hole_weight=10.0),
                      optim={"hypernetwork": replace(optim, lr=1e-3, muon_lr=0.005, warmup=0)})  # fmt: skip
    return Recipe(
        name="functional_fill",
        data=Source(paths=("photos",) if smoke else ("DIV2K",), smallest=64),
        augment=Augment(shrink=2.0),
        task=Masking(edge=32 if smoke else 64),
        model=FunctionalImageConfig(field=field, mask=True),
        stages=(first, larger, squares),
        measures="fill",
        log_every=5 if smoke else 100,
        save_every=500,
        sample_every=10 if smoke else 1000,
    )


RECIPES = {"functional_fill": functional_fill}
