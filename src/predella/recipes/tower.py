"""Many plausible answers: colourings of a grey photo, restorations of a ruined JPEG, 16 times as large (Peng et al., Sec. 5).

    predella train tower_color --data PHOTOS/                 # 2 CPU cores
    predella train tower_jpeg --data PHOTOS/ --task.quality 10
    predella train tower_sr16 --data FACES/ --data.box LEFT,TOP,RIGHT,BOTTOM
    predella train tower_color --smoke                        # 2 CPU cores, 20 s

`NAME_cimle` is conditional IMLE (Li et al. 2020) on the same network: all codes together, the last answer alone supervised.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.tower import TowerConfig, TowerLevel
from predella.objectives.tower import TowerObjectiveConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression
from predella.tasks.super_resolution import SuperResolution

SMALL = tuple(TowerLevel(width=w, growth=g, blocks=b) for w, g, b in ((48, 24, 2), (32, 16, 1), (16, 8, 1)))
TOY = tuple(TowerLevel(width=8, growth=4, blocks=1) for _ in range(3))


def tower_color(smoke: bool = False) -> Recipe:
    """Tower of three levels: colours for photos of 64 pixels."""
    levels = TOY if smoke else SMALL
    return Recipe(
        name="tower_color",
        data=Source(paths=("photos",) if smoke else ("DIV2K",), smallest=16 if smoke else 64),
        augment=Augment(rotate=False, shrink=1.0 if smoke else 3.0, shrink_probability=1.0),
        task=Colorization(edge=16 if smoke else 64),
        model=TowerConfig(condition=1, answer="ab", levels=levels, code=8 if smoke else 128, hidden=8 if smoke else 128),
        stages=(
            Stage(
                steps=12 if smoke else 2400,
                batch_size=4 if smoke else 16,
                objective=TowerObjectiveConfig(
                    samples=(4, 3, 2) if smoke else (24, 16, 8),
                    pool=3 if smoke else 20,
                    replay=2 if smoke else 10,
                    distance="pixels" if smoke else "cifar_classifier",
                ),
                optim={"generator": Optim(lr=1e-3, clip=5.0, warmup=2 if smoke else 100, schedule="cosine")},
            ),
        ),
        measures="restoration",
        ema=0.99,
        log_every=3 if smoke else 100,
        save_every=6 if smoke else 200,
        sample_every=6 if smoke else 200,
    )


def tower_jpeg(smoke: bool = False) -> Recipe:
    """Tower of three levels: restorations of JPEGs of quality 5, at 64 pixels."""
    recipe = tower_color(smoke)
    assert isinstance(recipe.model, TowerConfig)
    model = replace(recipe.model, condition=3, answer="image")
    return replace(recipe, name="tower_jpeg", task=Decompression(edge=16 if smoke else 64), model=model)


def tower_sr16(smoke: bool = False) -> Recipe:
    """Tower of four levels: 16 times as large, faces from 4 pixels to 64."""
    recipe = tower_color(smoke)
    assert isinstance(recipe.model, TowerConfig)
    (stage,) = recipe.stages
    assert isinstance(stage.objective, TowerObjectiveConfig)
    objective = replace(stage.objective, samples=(4, 3, 2, 2) if smoke else (24, 16, 8, 6))
    return replace(
        recipe,
        name="tower_sr16",
        data=Source(paths=("photos",) if smoke else ("CelebA",), edge=64, smallest=64),
        augment=Augment(rotate=False),
        task=SuperResolution(patch=4, scales=(16.0, 16.0)),
        model=replace(recipe.model, condition=3, answer="image", levels=(recipe.model.levels[0], *recipe.model.levels)),
        stages=(replace(stage, objective=objective),),
    )


def tower_sr16_cimle(smoke: bool = False) -> Recipe:
    """Conditional IMLE on tower_sr16's network, with as many evaluations of it."""
    return _cimle(tower_sr16(smoke))


def tower_color_cimle(smoke: bool = False) -> Recipe:
    """Conditional IMLE on tower_color's network, with as many evaluations of it."""
    return _cimle(tower_color(smoke))


def tower_jpeg_cimle(smoke: bool = False) -> Recipe:
    """Conditional IMLE on tower_jpeg's network, with as many evaluations of it."""
    return _cimle(tower_jpeg(smoke))


def _cimle(recipe: Recipe) -> Recipe:
    (stage,) = recipe.stages
    assert isinstance(stage.objective, TowerObjectiveConfig)
    objective = replace(stage.objective, sampling="vanilla", supervise="last")
    return replace(recipe, name=f"{recipe.name}_cimle", stages=(replace(stage, objective=objective),))


RECIPES = {f.__name__: f for f in (tower_color, tower_jpeg, tower_sr16, tower_color_cimle, tower_jpeg_cimle, tower_sr16_cimle)}
