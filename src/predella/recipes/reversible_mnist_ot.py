"""Digits without an adversary: a learned Gaussian a class, matched by exact optimal transport (Sec. 3.2).

    predella train reversible_mnist_ot --data mnist.npz                 # 2 CPU cores, 21 min
    predella train reversible_mnist_ot --smoke --data mnist.npz         # 2 CPU cores, 20 s

Paper: 3–4 dimensions used a class, no other number. Here 2–37, 92 % of samples recognised as their class, with little difference
within a class (recall 0); all rows in RESULTS.md.
"""

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.reversible import ClassNormals, Level, ReversibleConfig
from predella.objectives.reversible import ReversibleTransportConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.unconditional import Unconditional


def reversible_mnist_ot(smoke: bool = False) -> Recipe:
    """Reversible network on digits, a learned Gaussian a class, matched by exact transport.

    Four subsamplings, eight blocks; pictures surrounded with black to 32×32.
    """
    levels = (Level(hidden=25), Level(hidden=50), Level(hidden=100), Level(hidden=200))
    if smoke:
        levels = (Level(hidden=4, blocks=1), Level(hidden=4, blocks=1))
    return Recipe(
        name="reversible_mnist_ot",
        data=Source(paths=("digits",) if smoke else ("MNIST",), channels=1, edge=32, pad=True, smallest=8),
        augment=Augment(flip=False, rotate=False),
        task=Unconditional(edge=32),
        model=ReversibleConfig(channels=1, size=32, levels=levels, prior=ClassNormals(classes=10), surround=True, memory="stored"),
        stages=(
            Stage(
                steps=20 if smoke else 800,
                batch_size=100 if smoke else 500,
                objective=ReversibleTransportConfig(survey=200 if smoke else 10_000),
                optim={"encoder": Optim(lr=1e-2, clip=5.0, warmup=20, schedule="cosine", muon=("chain.*.weight",), muon_lr=0.01)},
            ),
        ),
        measures="digits",
        ema=0.99,
        log_every=5 if smoke else 20,
        save_every=100,
        sample_every=10 if smoke else 100,
        samples=10,
    )


RECIPES = {"reversible_mnist_ot": reversible_mnist_ot}
