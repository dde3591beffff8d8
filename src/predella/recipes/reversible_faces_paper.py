"""The paper's network for CelebA at 64×64: 6 subsamplings, 11 blocks, 60 million parameters (Sec. 3.1, Fig. 4).

    predella train reversible_faces_paper --data CELEBA/ --data.box 20,40,160,180     # one GPU, days; 220 + 200 epochs
    predella train reversible_faces_paper --smoke                                     # 2 CPU cores, 20 s

Paper: FID 65, L1 of full reconstruction 9e-7. Here: see RESULTS.md.
"""

from dataclasses import replace

from predella.data.images import Source
from predella.models.reversible import ReversibleConfig
from predella.objectives.reversible import ReversibleMatchConfig
from predella.recipe import Optim, Recipe
from predella.recipes.reversible_faces import CRITIC, reversible_faces
from predella.tasks.unconditional import Unconditional

ENCODER = Optim(lr=1e-4, betas=(0.0, 0.9), clip=5.0)


def reversible_faces_paper(smoke: bool = False) -> Recipe:
    """The paper's reversible network on faces of 64×64, 60 million parameters.

    Batch 250, Adam 1e-4 and 4e-4 for the critic; about 220 epochs of the 202 599 images in the first stage.
    """
    recipe = reversible_faces(smoke)
    if smoke:
        return replace(recipe, name="reversible_faces_paper")
    reconstruct, match = recipe.stages
    assert isinstance(match.objective, ReversibleMatchConfig)
    as_printed = replace(match.objective, weight=1.0, clamp=2.0, whiten=False)
    return replace(
        recipe,
        name="reversible_faces_paper",
        data=Source(paths=("CelebA",), edge=64, smallest=64),
        task=Unconditional(edge=64),
        model=ReversibleConfig(),
        stages=(
            replace(reconstruct, steps=178_000, batch_size=250, optim={"encoder": ENCODER}),
            replace(match, steps=162_000, batch_size=250, objective=as_printed, optim={"encoder": ENCODER, "critic": CRITIC}),
        ),
        ema=0.999,
        save_every=1000,
        sample_every=5000,
    )


RECIPES = {"reversible_faces_paper": reversible_faces_paper}
