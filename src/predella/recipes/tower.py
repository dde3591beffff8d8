"""Many plausible answers to one input: the five tasks of the tower (Peng et al., Sec. 2 and 5).

    predella train tower_mnist_pca --data mnist.npz                       # digits from their first ten principal components
    predella train tower_color --data PHOTOS/                             # 2 CPU cores, 31 min
    predella train tower_jpeg --data PHOTOS/ --task.quality 10
    predella train tower_sr16 --data FACES/ --data.box LEFT,TOP,RIGHT,BOTTOM
    predella train tower_layout --data FACADES/                           # photo | label map, side by side in each file
    predella train tower_color --smoke                                    # 2 CPU cores, 20 s

What each part of the tower is worth, its baselines and the paper's size: `recipes.tower_variants`.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.tower import TowerConfig, TowerLevel
from predella.objectives.perceptual import Name
from predella.objectives.tower import TowerObjectiveConfig
from predella.recipe import Optim, Recipe, Stage, Task
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression
from predella.tasks.layout import Layout
from predella.tasks.pca import PrincipalComponents
from predella.tasks.super_resolution import SuperResolution

SMALL = tuple(TowerLevel(width=w, growth=g, blocks=b) for w, g, b in ((48, 24, 2), (32, 16, 1), (16, 8, 1)))
TOY = TowerLevel(width=8, growth=4, blocks=1)
KERNELS = Optim(lr=1e-3, clip=5.0, warmup=20, schedule="cosine", muon=("levels.*.original1", "levels.*.weight"), muon_lr=0.1)
PICTURES = Source(paths=("DIV2K",), smallest=64)
PHOTOS = Augment(rotate=False, shrink=3.0, shrink_probability=1.0)  # more of the scene in a crop


def tower_mnist_pca(smoke: bool = False) -> Recipe:
    """Tower of two levels: digits from the first ten principal components. 16 min on 2 cores."""
    data = Source(paths=("MNIST",), channels=1, edge=28, pad=True, smallest=8)
    levels = TowerLevel(width=32, growth=16, blocks=2), TowerLevel(width=16, growth=8, blocks=1)
    model = TowerConfig(condition=1, channels=1, levels=levels, code=32, hidden=64)
    recipe = _recipe("tower_mnist_pca", PrincipalComponents(), model, (200, 30), data, Augment(flip=False, rotate=False), "pixels")
    (stage,) = recipe.stages
    objective = replace(stage.objective, pool=10, block=20)
    recipe = replace(recipe, stages=(replace(stage, steps=1000, batch_size=64, objective=objective),))
    return _toy(recipe, "digits") if smoke else recipe


def tower_color(smoke: bool = False) -> Recipe:
    """Tower of three levels: colours for photos of 64 pixels. 31 min on 2 cores; the paper, at 256 pixels: FID 33.19 on all of its data.

    The shipped painter was trained otherwise, at 32 pixels on more pictures: its card has the commands.
    """
    recipe = _recipe("tower_color", Colorization(), TowerConfig(condition=1, answer="ab", levels=SMALL), (24, 16, 8))
    return _toy(recipe) if smoke else recipe


def tower_jpeg(smoke: bool = False) -> Recipe:
    """Tower of three levels: restorations of JPEGs of quality 5, at 64 pixels. 37 min on 2 cores; the paper, at 256: FID 72.75."""
    recipe = _recipe("tower_jpeg", Decompression(), TowerConfig(levels=SMALL, skip=True), (24, 16, 8))
    return _toy(recipe) if smoke else recipe


def tower_sr16(smoke: bool = False) -> Recipe:
    """Tower of four levels: 16 times as large, faces from 4 pixels to 64; the paper, on photos of 256: FID 16.75.

    The shipped weights were trained otherwise, half of the time by LPIPS, 51 min on 2 cores: their card has the commands.
    """
    model = TowerConfig(levels=(SMALL[0], *SMALL), skip=True)
    task, data = SuperResolution(patch=4, scales=(16.0, 16.0)), Source(paths=("CelebA",), edge=64, smallest=64)
    recipe = _recipe("tower_sr16", task, model, (24, 16, 8, 6), data, Augment(rotate=False))
    return _toy(recipe) if smoke else recipe


def tower_layout(smoke: bool = False) -> Recipe:
    """Tower of three levels: facades from label maps, at 64 pixels. The shipped weights' half as many steps: 19 min on 2 cores."""
    task, data = Layout(), Source(paths=("facades",), paired=True, smallest=256)
    recipe = _recipe("tower_layout", task, TowerConfig(condition=task.channels, levels=SMALL), (24, 16, 8), data, Augment(rotate=False))
    return _toy(recipe) if smoke else recipe


def _recipe(name: str, task: Task, model: TowerConfig, samples: tuple[int, ...], data: Source = PICTURES,
            augment: Augment = PHOTOS, distance: Name = "cifar_classifier") -> Recipe:  # fmt: skip
    return Recipe(
        name=name,
        data=data,
        augment=augment,
        task=task,
        model=model,
        stages=(
            Stage(
                steps=1600,
                batch_size=16,
                objective=TowerObjectiveConfig(samples=samples, pool=20, replay=10, distance=distance),
                optim={"generator": KERNELS},
            ),
        ),
        measures="restoration",
        ema=0.99,
        log_every=100,
        save_every=200,
        sample_every=200,
    )


def _toy(recipe: Recipe, data: str = "photos") -> Recipe:
    """Seconds long, on pictures that are always there."""
    (stage,) = recipe.stages
    task, model, objective = recipe.task, recipe.model, stage.objective
    assert isinstance(model, TowerConfig) and isinstance(objective, TowerObjectiveConfig)
    if isinstance(task, (Colorization, Decompression)):
        task = replace(task, edge=16)
    if isinstance(task, Layout):
        task, model = replace(task, edge=16, shrink=2, encoding="colors"), replace(model, condition=3)  # of any photo's other half
    objective = replace(objective, samples=(4, 3, 2, 2)[: len(model.levels)], pool=3, replay=2, distance="pixels")
    return replace(
        recipe,
        data=replace(recipe.data, paths=(data,), smallest=32 if isinstance(task, Layout) else 8),
        task=task,
        model=replace(model, levels=(TOY,) * len(model.levels), code=8, hidden=8),
        stages=(replace(stage, steps=12, batch_size=4, objective=objective, optim={"generator": Optim(lr=1e-3, clip=5.0, warmup=2)}),),
        log_every=3,
        save_every=6,
        sample_every=6,
    )


RECIPES = {f.__name__: f for f in (tower_mnist_pca, tower_sr16, tower_color, tower_jpeg, tower_layout)}
