"""The paper's own super-resolution (Sec. 3.1–3.2): overlapping patches, a cosine network each, scales 2, 3, 4, MSE.

    predella train functional_sr_paper --data BSDS500_train BSDS500_test T91     # 2 CPU cores, about 10 min
    predella train functional_sr_small --data BSDS500_train BSDS500_test T91     # the cell fields in the same time
    predella train functional_sr_paper --smoke                                   # 2 CPU cores, 20 s

Paper (DIV2K, 800 images): Set5 36.09 / 32.85 / 30.69. Here: see RESULTS.md; what the paper leaves open, in docs/deviations.md.
"""

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.functional_image import CellFields, FunctionalImageConfig
from predella.models.functional_patches import PatchNetworks
from predella.objectives.functional_image import FunctionalImageObjective
from predella.recipe import ModelConfig, Optim, Recipe, Stage
from predella.recipes.functional_sr import functional_sr
from predella.tasks.super_resolution import SuperResolution


def functional_sr_paper(smoke: bool = False) -> Recipe:
    """Enlarge as the paper does, by overlapping patches; without batch statistics inside the target network (see `PatchNetworks.norm`)."""
    optim = Optim(
        lr=1e-3, clip=1.0, warmup=100, schedule="cosine", muon_lr=0.01,
        muon=("paint.stem.*.weight", "paint.trunk.*.weight", "paint.branches.*.convs.*.weight", "paint.branches.*.row.weight",
              "paint.branches.4.column.weight"),
    )  # fmt: skip
    grain = PatchNetworks(patch=6, stride=3, width=8, target=(8, 16, 16, 8)) if smoke else PatchNetworks()
    return Recipe(
        name="functional_sr_paper",
        data=Source(paths=("photos",) if smoke else ("DIV2K",), smallest=64),
        augment=Augment(shrink=2.0),
        task=SuperResolution(patch=grain.patch, choices=(2.0, 3.0, 4.0)),
        model=FunctionalImageConfig(field=grain),
        stages=(
            Stage(
                steps=20 if smoke else 1500,
                batch_size=4 if smoke else 128,
                objective=FunctionalImageObjective(distance="l2", queries=128),
                optim={"hypernetwork": optim},
            ),
        ),
        measures="super_resolution",
        log_every=5 if smoke else 200,
        sample_every=10 if smoke else 2000,
    )


def functional_sr_small(smoke: bool = False) -> Recipe:
    """Enlarge with cell fields of half the size, trained as long as `functional_sr_paper`, for comparison."""
    recipe = functional_sr(smoke)
    if smoke:
        return _renamed(recipe, recipe.stages[0].steps, recipe.model)
    return _renamed(recipe, 2500, FunctionalImageConfig(field=CellFields(width=32, blocks=6)))


def _renamed(recipe: Recipe, steps: int, model: ModelConfig) -> Recipe:
    from dataclasses import replace

    return replace(recipe, name="functional_sr_small", model=model, stages=(replace(recipe.stages[0], steps=steps),))


RECIPES = {"functional_sr_paper": functional_sr_paper, "functional_sr_small": functional_sr_small}
