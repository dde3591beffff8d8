"""Digits as maps of the circle: a hypernetwork from a digit, read as a distribution, to the curve that draws it (Klocek et al., Sec. 3.4).

    predella train functional_digits --data mnist.npz        # 2 CPU cores, half an hour
    predella train functional_digits --smoke                 # 2 CPU cores, 10 s

Cross-entropy of unseen digits -.44 nats, a Gaussian's .37; the paper gives none: `predella evaluate RUN --data mnist.npz#x_test`.
A network optimised for each digit: `python -m benchmarks.points`.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.functional_points import FunctionalPointsConfig
from predella.objectives.functional_points import FunctionalPointsObjectiveConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.unconditional import Unconditional


def functional_digits(smoke: bool = False) -> Recipe:
    """28×28 digits, cross-entropy."""
    stage = Stage(
        steps=8_000,
        batch_size=64,
        objective=FunctionalPointsObjectiveConfig(),
        optim={"hypernetwork": Optim(lr=1e-3, clip=1.0, warmup=100, schedule="cosine")},
    )
    recipe = Recipe(
        name="functional_digits",
        data=Source(paths=("MNIST",), channels=1, edge=28, smallest=8, bright=True),
        augment=Augment(flip=False, rotate=False),
        task=Unconditional(edge=28),
        model=FunctionalPointsConfig(),
        stages=(stage,),
        measures="points",
        ema=0.999,
        log_every=100,
        save_every=1000,
        sample_every=1000,
    )
    if not smoke:
        return recipe
    small = replace(stage, steps=20, batch_size=8, objective=FunctionalPointsObjectiveConfig(samples=64, sigma=0.2))
    model = FunctionalPointsConfig(grid=8, width=4, embedding=16, target=(8, 8))
    return replace(recipe, data=replace(recipe.data, paths=("digits",), edge=8), task=Unconditional(edge=8), model=model, stages=(small,),
                   ema=0.9, log_every=5, save_every=20, sample_every=20)  # fmt: skip


RECIPES = {"functional_digits": functional_digits}
