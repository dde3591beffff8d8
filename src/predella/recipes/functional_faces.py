"""Faces as functions: one coordinate network a face, whose weights can be blended (Klocek et al. 2019, Sec. 3.3).

    predella train functional_faces --data FACES --data.box LEFT,TOP,RIGHT,BOTTOM      # 2 CPU cores
    predella train functional_faces_places --data FACES --data.box LEFT,TOP,RIGHT,BOTTOM # an hour and a half, with VGG16's weights: shipped
    predella train functional_faces_sharp --data FACES --data.box LEFT,TOP,RIGHT,BOTTOM # 25 minutes more than the first, with them
    predella train functional_faces_arcs --data FACES --data.box LEFT,TOP,RIGHT,BOTTOM # an hour more, without them
    predella train functional_faces --smoke                                            # 2 CPU cores, 20 s

PSNR of unseen faces 23.7 dB, 22.6 with places and critics; the paper gives no number (RESULTS.md has all distances).

CelebA: the usual crop is `--data.box 20,40,160,180` of the aligned originals, 10,20,80,90 of those at half size.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.functional_image import FunctionalImageConfig
from predella.models.functional_whole import WholeNetworks
from predella.objectives.functional_blend import FunctionalBlendObjectiveConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.super_resolution import SuperResolution


def functional_faces(smoke: bool = False) -> Recipe:
    """64×64 faces, squared error at a quarter of the pixels a step; 28 minutes on 2 CPU cores."""
    stage = Stage(
        steps=12_000,
        batch_size=32,
        objective=FunctionalImageObjective(distance="l2", queries=1024),
        optim={"hypernetwork": Optim(lr=2e-3, clip=1.0, warmup=200, schedule="cosine")},
    )
    recipe = Recipe(
        name="functional_faces",
        data=Source(paths=("CelebA",), edge=64, smallest=64),
        augment=Augment(rotate=False),
        task=SuperResolution(patch=64, scales=(1.0, 1.0)),
        model=FunctionalImageConfig(field=WholeNetworks()),
        stages=(stage,),
        measures="blends",
        ema=0.999,
        log_every=100,
        save_every=1000,
        sample_every=1000,
    )
    if not smoke:
        return recipe
    small = replace(stage, steps=10, batch_size=4, objective=FunctionalImageObjective(distance="l2", queries=64))
    model = FunctionalImageConfig(field=WholeNetworks(edge=16, width=4, embedding=16, target=(8, 8)))
    data = replace(recipe.data, paths=("photos",), edge=16, smallest=16)
    return replace(recipe, data=data, task=SuperResolution(patch=16, scales=(1.0, 1.0)), model=model, stages=(small,), ema=0.9,
                   log_every=5, save_every=10, sample_every=10)  # fmt: skip


def functional_faces_blends(smoke: bool = False) -> Recipe:
    """The same, and then an adversary that looks at blends: sharper in all, less faithful, with drawn contours."""
    recipe = functional_faces(smoke)
    adversary = Optim(lr=2e-4, betas=(0.5, 0.999), warmup=50, schedule="cosine")
    objective = FunctionalBlendObjectiveConfig(quality=0.02)
    blends = Stage(
        name="blends",
        steps=4 if smoke else 2500,
        batch_size=4 if smoke else 32,
        objective=replace(objective, queries=64, critic_width=4) if smoke else objective,
        optim={"hypernetwork": replace(adversary, lr=5e-4, clip=1.0), "critic": adversary},
    )
    return replace(recipe, name="functional_faces_blends", stages=(*recipe.stages, blends))


def functional_faces_arcs(smoke: bool = False) -> Recipe:
    """The same, and then an adversary that looks at features of what lies on arcs between faces; an hour on 2 CPU cores.

    The measured run (docs/functions.md) took its 3,400 steps in two, the first 2,000 with `quality` .02 and `ends` 0.
    """
    recipe = functional_faces_blends(smoke)
    regression, blends = recipe.stages
    assert isinstance(blends.objective, FunctionalBlendObjectiveConfig)
    objective = replace(blends.objective, path="arc", ends=0.3, quality=0.03, critic="pixels" if smoke else "cifar_classifier")
    arcs = replace(blends, steps=blends.steps if smoke else 3400, batch_size=4 if smoke else 16, objective=objective)
    return replace(recipe, name="functional_faces_arcs", stages=(regression, arcs))


def functional_faces_sharp(smoke: bool = False) -> Recipe:
    """The same with LPIPS beside the pixels and a critic that sees VGG16's features: faces with hair, eyes and teeth, and so between them.

    23 minutes more on 2 CPU cores with `precision` bf16, 35 without. Wants the weights of VGG16 and of LPIPS.
    """
    recipe = functional_faces_arcs(smoke)
    regression, arcs = recipe.stages
    assert isinstance(arcs.objective, FunctionalBlendObjectiveConfig)
    features = "pixels" if smoke else "vgg16"
    objective = replace(arcs.objective, perceptual=features, critic=features, quality=0.005)
    sharp = replace(arcs, steps=arcs.steps if smoke else 1500, objective=objective)
    return replace(recipe, name="functional_faces_sharp", stages=(regression, sharp))


def functional_faces_places(smoke: bool = False) -> Recipe:
    """The same of networks with numbers of their own at 8×8 places: more of a face is kept, and blends start from more.

    21 minutes of regression and 65 with critics, on 2 CPU cores, where these run by themselves (`--start`) with `precision` bf16;
    not run in one piece (docs/functions.md).
    """
    recipe = functional_faces_sharp(smoke)
    regression, sharp = recipe.stages
    assert isinstance(recipe.model, FunctionalImageConfig) and isinstance(recipe.model.field, WholeNetworks)
    assert isinstance(sharp.objective, FunctionalBlendObjectiveConfig)
    field = recipe.model.field
    field = replace(field, places=2, detail=4) if smoke else replace(field, target=(64, 64, 64, 64), places=8)
    objective = replace(sharp.objective, quality=0.02, ends=0.4, off_grid=True)
    heavier = {"hypernetwork": replace(sharp.optim["hypernetwork"], lr=3e-4), "critic": replace(sharp.optim["critic"], lr=4e-4)}
    middle = replace(sharp, name="middle", objective=replace(objective, quality=0.04, ends=0.45), optim=heavier)
    stages = (
        replace(regression, steps=regression.steps if smoke else 9000),
        replace(sharp, steps=sharp.steps if smoke else 3700, objective=objective),
        replace(middle, steps=middle.steps if smoke else 800),
    )
    return replace(recipe, name="functional_faces_places", model=replace(recipe.model, field=field), stages=stages)


ALL = (functional_faces, functional_faces_blends, functional_faces_arcs, functional_faces_sharp, functional_faces_places)
RECIPES = {f.__name__: f for f in ALL}
