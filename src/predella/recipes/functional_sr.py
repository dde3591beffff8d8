"""Any photo, any size: super-resolution with one small field a pixel, one model for all scales.

    predella train functional_sr --data BSDS500_train BSDS500_test T91     # 2 CPU cores, about 65 min
    predella train functional_sr --smoke                                   # 2 CPU cores, 20 s

Paper (patches, DIV2K): Set5 36.09 / 32.85 / 30.69 at ×2 / ×3 / ×4. Here: see RESULTS.md.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.functional_image import CellFields, FunctionalImageConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.super_resolution import SuperResolution


def functional_sr(smoke: bool = False) -> Recipe:
    """Enlarge photos by any scale, one model for all: the shipped recipe."""
    optim = Optim(
        lr=2e-3, weight_decay=1e-4, clip=1.0, warmup=200, schedule="cosine",
        muon=("paint.encoder.body.*.weight", "paint.encoder.tail.weight"), muon_lr=0.01,
    )  # fmt: skip
    first = Stage(
        steps=20 if smoke else 10_000,
        batch_size=4 if smoke else 16,
        objective=FunctionalImageObjective(),
        optim={"hypernetwork": optim},
    )
    return Recipe(
        name="functional_sr",
        data=Source(paths=("photos",) if smoke else ("DIV2K",), smallest=64),
        augment=Augment(shrink=2.0),
        task=SuperResolution(patch=16 if smoke else 32),
        model=FunctionalImageConfig(field=CellFields(width=8, blocks=1, hidden=8) if smoke else CellFields(width=48, blocks=6)),
        stages=(first,),
        measures="super_resolution",
        log_every=5 if smoke else 200,
        save_every=500,
        sample_every=10 if smoke else 2000,
    )


def functional_sr_longer(smoke: bool = False) -> Recipe:
    """The same with two more stages, larger patches and squared errors: half as long again for 0.02 dB, so it is not shipped."""
    recipe = functional_sr(smoke)
    (first,) = recipe.stages
    larger = replace(first, name="larger", steps=5 if smoke else 6_000, batch_size=2 if smoke else 8,
                     task=SuperResolution(patch=20 if smoke else 48))  # fmt: skip
    optim = replace(first.optim["hypernetwork"], lr=5e-4, muon_lr=0.0025, warmup=0)
    squares = replace(larger, name="squares", steps=5 if smoke else 1_500, objective=FunctionalImageObjective(distance="l2"),
                      optim={"hypernetwork": optim})  # fmt: skip
    return replace(recipe, name="functional_sr_longer", stages=(first, larger, squares))


RECIPES = {"functional_sr": functional_sr, "functional_sr_longer": functional_sr_longer}
