"""Internal learning: a generator of variations for one picture, for a few, or for a whole folder of them (Bensadoun et al. 2021).

    predella train meta_internal_plain --data PICTURE.jpg       # one picture, ordinary weights: the single-image GAN
    predella train meta_internal_single --data PICTURE.jpg      # one picture, weights from a hypernetwork
    predella train meta_internal_batch --data FIVE_PICTURES/    # up to 16 pictures, all of them in every step
    predella train meta_internal_dataset --data PICTURES/       # any number; unseen ones are embedded without training
    predella train meta_internal_photos --data PHOTOS/ --start RUN # hundreds, from a run of meta_internal_dataset
    predella train meta_internal_dataset --smoke                # 2 CPU cores, 30 s

Pictures keep their aspect; the paper's `--data.longest 0 --data.stretch 96,128` makes all of them 3:4.
"""

from collections.abc import Sequence
from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.meta_internal import MetaInternalConfig
from predella.objectives.meta_internal import MetaInternalObjectiveConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.internal import Internal

MODEL = MetaInternalConfig()
PAPER = MetaInternalConfig(coarsest=25, finest=250, scales=7, heads="dense", embed="resnet34", embedding=512)


def meta_internal_plain(smoke: bool = False) -> Recipe:
    """One picture, ordinary weights (Shaham et al. 2019)."""
    return _recipe("meta_internal_plain", replace(MODEL, heads="table"), 600, 1, 1e-3, smoke, 1, critic="shared")


def meta_internal_single(smoke: bool = False) -> Recipe:
    """One picture, weights from a hypernetwork, one critic."""
    return _recipe("meta_internal_single", MODEL, 600, 1, 1e-3, smoke, 1, critic="shared")


def meta_internal_batch(smoke: bool = False) -> Recipe:
    """A few pictures, all of them in every step; the critic is a hypernetwork, too."""
    return _recipe("meta_internal_batch", MODEL, 600, 0, 1e-3, smoke, 16)


def meta_internal_dataset(smoke: bool = False) -> Recipe:
    """Any number of pictures, two of them a step, most steps at the coarse scales, where they cost little and the layout is decided."""
    return _recipe("meta_internal_dataset", MODEL, (2000, 1500, 1000, 700, 500), 2, 1e-3, smoke)


def meta_internal_dataset_windows(smoke: bool = False) -> Recipe:
    """The same in less time, closer to the training pictures and worse on others: later scales look at windows.

    The embedding is learned at the first scale alone.
    """
    recipe = _recipe("meta_internal_dataset_windows", replace(MODEL, noise="picture"), (1800, 1300, 1100, 1000, 900), 4, 1e-3, smoke)
    heads = ("*base", "*rows", "*factor.weight")
    stages = []
    for stage in recipe.stages:
        first, generator = stage is recipe.stages[0], stage.optim["generator"]
        generator = replace(generator, muon=heads, muon_decay=0.0, slow=generator.slow if first else ())
        objective = replace(stage.objective, embed=first, accumulate=False, window=12 if smoke else 32)
        optim = {"generator": replace(generator, schedule="cosine"), "critic": replace(stage.optim["critic"], schedule="cosine")}
        stages.append(replace(stage, objective=objective, optim=optim))
    return replace(recipe, stages=tuple(stages), augment=replace(recipe.augment, snap=8))


def meta_internal_photos(smoke: bool = False) -> Recipe:
    """Hundreds of pictures by distances of textures, which need no critic, from a run of `meta_internal_dataset` (--start RUN).

    Scale by scale, then all at once. Without a start (--start "") textures end in dots. Half an hour on 2 CPU cores for 790 photos (shipped
    weights are of three such runs, as their card says); by its paper a picture takes 5 minutes on a GPU, with a critic.
    """
    recipe = _recipe("meta_internal_photos", MODEL, (1000, 500, 250, 120, 900), 4, 5e-4, smoke, adversarial=0.0, texture=0.25)
    stages = []
    for stage in recipe.stages:
        generator = replace(stage.optim["generator"], slow_lr=2e-4, schedule="cosine")
        objective = replace(stage.objective, together=stage is recipe.stages[-1])
        stages.append(replace(stage, objective=objective, optim={"generator": generator}))
    start = "" if smoke else "runs/meta_internal_dataset"
    return replace(recipe, stages=tuple(stages), augment=replace(recipe.augment, flip=True, snap=8), start=start)


def meta_internal_dataset_paper(smoke: bool = False) -> Recipe:
    """The paper's size for 50 pictures: dense heads, ResNet-34, 432 million parameters in the generator, 250 pixels."""
    return _recipe("meta_internal_dataset_paper", PAPER, 4000, 16, 5e-5, smoke)


def _optim(lr: float, encoder: Sequence[str]) -> Optim:
    """A picture's embedding moves a tenth as fast as the heads: it is what all of them hang on."""
    return Optim(lr=lr, betas=(0.5, 0.999), clip=1.0, schedule="drop", slow=tuple(encoder), slow_lr=0.1 * lr)


def _recipe(name: str, model: MetaInternalConfig, steps: int | tuple[int, ...], batch: int, lr: float, smoke: bool,
            most: int = 0, **objective) -> Recipe:  # fmt: skip
    if smoke:
        model = replace(model, coarsest=12, finest=24, scales=2, width=8, embedding=16, embed="small", rank=4)
        steps, batch = 6, min(batch, 3)
    each = steps if isinstance(steps, tuple) else (steps,) * model.scales
    small = model.heads == "low_rank"
    judged = small and objective.get("critic", "hyper") == "hyper"
    optim = {"generator": _optim(lr, ("*body.*", "*out.*") if small else ()), "critic": _optim(lr, ("*body.*", "*out.*") if judged else ())}
    stages = tuple(
        Stage(
            name=f"scale_{i}",
            steps=each[i],
            batch_size=batch,
            objective=MetaInternalObjectiveConfig(scale=i, **objective),
            optim=optim,
        )
        for i in range(model.scales)
    )
    return Recipe(
        name=name,
        data=Source(paths=("photos",), longest=model.finest, part=(0, batch or 3)) if smoke else Source(longest=model.finest),
        augment=Augment(flip=False, rotate=False),
        task=Internal(most=most),
        model=model,
        stages=stages,
        measures="internal",
        ema=0.0,
        log_every=2 if smoke else 100,
        save_every=6 if smoke else 500,
        sample_every=6 if smoke else 500,
    )


_ALL = (
    meta_internal_plain,
    meta_internal_single,
    meta_internal_batch,
    meta_internal_dataset,
    meta_internal_dataset_windows,
    meta_internal_photos,
    meta_internal_dataset_paper,
)
RECIPES = {f.__name__: f for f in _ALL}
