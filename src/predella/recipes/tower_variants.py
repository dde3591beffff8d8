"""Baselines, ablations and sizes of the tower's recipes: TASK_VARIANT for each TASK in `recipes.tower`.

predella train tower_sr16_cimle --data FACES/        # conditional IMLE on the same network, as many evaluations of it
predella train tower_sr16_cimle_single --data FACES/ # conditional IMLE on a network of one scale, as many parameters
predella train tower_jpeg_regression --data PHOTOS/  # the same network with one answer
predella train tower_jpeg_no_hs --data PHOTOS/       # Table 5, taken away one after another: HS, MN, IS, WN
predella train tower_color_chimle --data PHOTOS/     # each level's styles see all codes up to its own (CHIMLE)
predella train tower_color_paper --data PHOTOS/      # 209 million parameters, 256 pixels, LPIPS: GPUs
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from predella.models.tower import Tower, TowerConfig, TowerLevel
from predella.objectives.tower import TowerObjectiveConfig
from predella.recipe import Optim, Recipe
from predella.recipes import tower
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression
from predella.tasks.layout import Layout
from predella.tasks.super_resolution import SuperResolution

UNNORMALISED = 0.02  # largest rate of Muon for kernels that nothing normalises
PAPER = tuple(TowerLevel(width=w, growth=g, blocks=6) for w, g in ((128, 256), (64, 192), (64, 128), (64, 64)))


def cimle(recipe: Recipe) -> Recipe:
    """Conditional IMLE (Li et al. 2020): all codes chosen together, the last answer alone supervised; as many evaluations of levels."""
    return _changed(no_hs(recipe), objective={"supervise": "last", "weights": ()})


def cimle_single(recipe: Recipe) -> Recipe:
    """Conditional IMLE on a network of one scale, as Li et al. 2020 have it, with as many parameters as the tower's levels together.

    RRDBs of about the coarsest level's size work where the condition is (as fine as half of the answer, if the condition is as large
    as it), a spatial code beside it; doublings follow. The vector code is not used, nothing is normalised, the answer alone is
    supervised. As many draws as `cimle` has, each an evaluation of the whole network.
    """
    changed = no_hs_mn_is_wn(recipe)
    (stage,) = changed.stages
    assert isinstance(recipe.model, TowerConfig) and isinstance(changed.model, TowerConfig)
    assert isinstance(stage.objective, TowerObjectiveConfig)
    doublings = len(recipe.model.levels) if isinstance(recipe.task, SuperResolution) else 1
    model = _as_large(changed.model, doublings, recipe.model)
    return _changed(replace(changed, model=model), objective={"samples": stage.objective.samples[:1]})


def chimle(recipe: Recipe) -> Recipe:
    """CHIMLE (Peng et al. 2022): each level's styles see the codes of all levels up to its own."""
    return _changed(recipe, model={"styled_by": "all"})


def regression(recipe: Recipe) -> Recipe:
    """One answer: the same network and losses without codes."""
    (stage,) = recipe.stages
    assert isinstance(stage.objective, TowerObjectiveConfig)
    return _changed(recipe, model={"regression": True}, objective={"samples": (1,) * len(stage.objective.samples)})


def no_hs(recipe: Recipe) -> Recipe:
    """Table 5: without hierarchical sampling; as many evaluations of levels."""
    (stage,) = recipe.stages
    assert isinstance(stage.objective, TowerObjectiveConfig)
    each = stage.objective.samples
    draws = math.ceil(sum(each) / len(each))  # each evaluates all levels
    return _changed(recipe, objective={"sampling": "vanilla", "samples": (draws,) * len(each)})


def no_hs_mn(recipe: Recipe) -> Recipe:
    """Table 5: without hierarchical sampling and mapping networks."""
    return _changed(no_hs(recipe), model={"layers": 0})


def no_hs_mn_is(recipe: Recipe) -> Recipe:
    """Table 5: without hierarchical sampling, mapping networks and intermediate supervision."""
    return _changed(no_hs_mn(recipe), objective={"supervise": "last", "weights": ()})


def no_hs_mn_is_wn(recipe: Recipe) -> Recipe:
    """Table 5: without hierarchical sampling, mapping networks, intermediate supervision and weight normalisation.

    Kernels that nothing normalises want a smaller rate of Muon, 0.02 at most: at 0.1 colours diverge within 190 steps.
    """
    changed = _changed(no_hs_mn_is(recipe), model={"weight_norm": False})
    (stage,) = changed.stages
    optim = {k: replace(o, muon_lr=min(o.muon_lr, UNNORMALISED)) for k, o in stage.optim.items()}
    return replace(changed, stages=(replace(stage, optim=optim),))


def paper(recipe: Recipe) -> Recipe:
    """The paper's size: 209 million parameters for 256 pixels, VGG16's LPIPS, 120 candidates a level, 20 pools of 400 pictures.

    Not run as a whole yet; the paper's takes about 100 hours on a V100. A pool lasts 10,000 steps, and a run can be resumed where one
    ends: `--stages.0.objective.replay 10` makes that 1,000 steps, and the choice of codes ten times as frequent.
    """
    (stage,) = recipe.stages
    assert isinstance(recipe.model, TowerConfig) and isinstance(stage.objective, TowerObjectiveConfig)
    model = replace(recipe.model, levels=PAPER, hidden=512, layers=8, skip=False)
    objective = replace(stage.objective, samples=(120,) * 4, pool=100, replay=100, distance="vgg16")
    optim = {"generator": Optim(lr=1e-4, slow=("*mapping*",), slow_lr=1e-6)}
    task, data = recipe.task, recipe.data
    match task:
        case Colorization() | Decompression():
            task, data = replace(task, edge=256), replace(data, smallest=256)
        case SuperResolution():
            task, data = replace(task, patch=16), replace(data, edge=256, smallest=256)
        case Layout():
            task = replace(task, edge=256, shrink=1)
    stage = replace(stage, steps=200_000, batch_size=4, objective=objective, optim=optim)
    return replace(recipe, task=task, data=data, model=model, stages=(stage,), ema=0.999, save_every=10_000, sample_every=1000)


def _small(whole: Recipe, toy: Recipe) -> Recipe:
    """`whole`'s levels in number, its optimizers and mapping networks, in seconds: on what `toy` is trained on."""
    (stage,) = whole.stages
    assert isinstance(whole.model, TowerConfig) and isinstance(toy.model, TowerConfig) and isinstance(stage.objective, TowerObjectiveConfig)
    levels = (tower.TOY,) * len(whole.model.levels)
    edge = 2 * 2 ** len(levels)  # a base of more than one position
    task, data = toy.task, toy.data
    if isinstance(task, Layout) and isinstance(whole.task, Layout):
        task = replace(task, shrink=whole.task.shrink)
    if isinstance(task, (Colorization, Decompression, Layout)):
        task, data = replace(task, edge=edge), replace(data, smallest=edge)
    model = replace(whole.model, levels=levels, condition=toy.model.condition, code=8, hidden=8)
    objective = replace(stage.objective, samples=(4, 3, 2, 2), pool=3, replay=2, distance="pixels")
    stage = replace(stage, steps=12, batch_size=4, objective=objective)
    return replace(whole, data=data, task=task, model=model, stages=(stage,), log_every=3, save_every=6, sample_every=6)


VARIANTS: tuple = (cimle, cimle_single, chimle, regression, no_hs, no_hs_mn, no_hs_mn_is, no_hs_mn_is_wn, paper)


def _as_large(model: TowerConfig, doublings: int, whole: TowerConfig) -> TowerConfig:
    """`model` with one level, of the coarsest one's width, which has as many parameters as `whole` has in all of its levels."""
    first, wanted, sizes = whole.levels[0], _parameters(whole), {}
    for growth in range(max(1, first.growth - 4), first.growth + 5):
        one, two = (replace(model, levels=(replace(first, growth=growth, blocks=b),), doublings=doublings) for b in (1, 2))
        least = _parameters(one)
        block = _parameters(two) - least
        more = max(0, round((wanted - least) / block))
        sizes[abs(least + more * block - wanted)] = replace(one, levels=(replace(first, growth=growth, blocks=1 + more),))
    return sizes[min(sizes)]


def _parameters(model: TowerConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Tower(model).parameters())


def _changed(recipe: Recipe, model: dict | None = None, objective: dict | None = None) -> Recipe:
    (stage,) = recipe.stages
    stage = replace(stage, objective=replace(stage.objective, **objective or {}))
    return replace(recipe, model=replace(recipe.model, **model or {}), stages=(stage,))


def _function(name: str, base: Callable[..., Recipe], variant: Callable[[Recipe], Recipe]) -> Callable[..., Recipe]:
    def function(smoke: bool = False) -> Recipe:
        full = _small(paper(base()), base(smoke=True)) if smoke and variant is paper else variant(base(smoke))
        return replace(full, name=name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = variant.__doc__
    return function


RECIPES = {
    f"{name}_{variant.__name__}": _function(f"{name}_{variant.__name__}", base, variant)
    for name, base in tower.RECIPES.items()
    for variant in VARIANTS
    if not (variant is paper and name == "tower_mnist_pca")
}
