"""The judge of digits: a small classifier, whose features and answers measure the models of digits.

    predella train mnist_classifier --data mnist.npz              # 2 CPU cores, about 7 min
    predella train mnist_classifier --smoke                       # 2 CPU cores, 10 s

Asked of it: at least 98.5 % of the test digits right. Here: see RESULTS.md.
"""

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.classifier import ClassifierConfig
from predella.objectives.classifier import ClassifierObjectiveConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.unconditional import Unconditional


def mnist_classifier(smoke: bool = False) -> Recipe:
    """Tell the ten digits apart."""
    return Recipe(
        name="mnist_classifier",
        data=Source(paths=("digits",) if smoke else ("MNIST",), channels=1, edge=32, pad=True, smallest=8),
        augment=Augment(flip=False, rotate=False),
        task=Unconditional(edge=32),
        model=ClassifierConfig(width=4 if smoke else 16),
        stages=(
            Stage(
                steps=20 if smoke else 1200,
                batch_size=16 if smoke else 128,
                objective=ClassifierObjectiveConfig(),
                optim={"classifier": Optim(lr=2e-3, weight_decay=1e-2, warmup=50, schedule="cosine")},
            ),
        ),
        measures="classes",
        log_every=5 if smoke else 100,
        sample_every=10_000,
    )


RECIPES = {"mnist_classifier": mnist_classifier}
