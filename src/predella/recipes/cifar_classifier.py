"""A small network of features: a classifier of CIFAR-10, whose maps perceptual distances compare where no foreign weights are.

    predella train cifar_classifier --data CIFAR-10               # 2 CPU cores, about 20 min
    predella train cifar_classifier --smoke                       # 2 CPU cores, 10 s

Here, on the first 20,000 training images: 78 % of the test images right (see RESULTS.md); what counts is the maps.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.classifier import ClassifierConfig
from predella.recipe import Recipe
from predella.recipes.mnist_classifier import mnist_classifier


def cifar_classifier(smoke: bool = False) -> Recipe:
    """Tell ten kinds of things apart: features for perceptual distances."""
    recipe = mnist_classifier(smoke)
    if smoke:
        return replace(recipe, name="cifar_classifier")
    (stage,) = recipe.stages
    stage = replace(stage, steps=2000, objective=replace(stage.objective, smoothing=0.1))
    return replace(
        recipe,
        name="cifar_classifier",
        data=Source(paths=("CIFAR-10",), channels=3, edge=32, smallest=32),
        augment=Augment(flip=True, rotate=False, shrink=1.0),
        model=ClassifierConfig(channels=3, width=32),
        stages=(stage,),
        ema=0.995,
    )


RECIPES = {"cifar_classifier": cifar_classifier}
