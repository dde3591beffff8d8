"""Faces by a small reversible network: an exact code for every face, sampling from 64 of its dimensions.

    predella train reversible_faces --data FACES.zip            # 2 CPU cores, 35 min
    predella train reversible_faces --smoke                     # 2 CPU cores, 20 s
    predella train reversible_faces_mmd --data FACES.zip --start runs/reversible_faces_reconstruct     # 3 min
    predella train reversible_gan --data FACES.zip              # 2 CPU cores, 16 min

FACES: CelebA at 178×218 (cut by --data.box 20,40,160,180) or any folder of faces. Paper: FID 65 (VAE 63) with 60 M parameters on
all of CelebA. Here, on 1,000 held-out faces at 32×32: restricted PSNR 23.2 dB, Fréchet distance in VGG16 features 470 from the
prior, 450 from the mixture (a VAE of its size: 22.9 dB, 1419, 472); reversible_gan 1311 from the prior; all rows in RESULTS.md.
"""

from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.reversible import Level, ReversibleConfig, StandardNormal
from predella.objectives.reversible import ReversibleGANConfig, ReversibleMatchConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.unconditional import Unconditional

ENCODER = Optim(lr=1e-3, betas=(0.0, 0.9), clip=5.0, warmup=100, schedule="cosine", muon=("chain.*.weight",), muon_lr=0.01)
CRITIC = Optim(lr=4e-4, betas=(0.0, 0.9))
SMALL = ReversibleConfig(
    size=32, prior=StandardNormal(dims=64), memory="stored",
    levels=(Level(hidden=32), Level(hidden=48), Level(hidden=64), Level(hidden=96, kernel=1), Level(hidden=128, kernel=1)),
)  # fmt: skip
TOY = ReversibleConfig(size=16, prior=StandardNormal(dims=8), levels=(Level(hidden=4, blocks=1), Level(hidden=4, blocks=1)))


def reversible_faces(smoke: bool = False) -> Recipe:
    """Reversible network on small faces: reconstruct, then match the prior by an adversary."""
    reconstruct = Stage(
        name="reconstruct",
        steps=10 if smoke else 3000,
        batch_size=8 if smoke else 64,
        objective=ReversibleMatchConfig(match="none", survey=64 if smoke else 10_000),
        optim={"encoder": ENCODER},
    )
    match = replace(
        reconstruct,
        name="match",
        steps=10 if smoke else 800,
        objective=replace(reconstruct.objective, match="hinge", weight=0.3, clamp=3.0),
        optim={"encoder": replace(ENCODER, lr=1e-4, muon_lr=0.001, warmup=0), "critic": CRITIC},
    )
    model = TOY if smoke else SMALL
    return Recipe(
        name="reversible_faces",
        data=Source(paths=("photos",) if smoke else ("CelebA",), edge=model.size, smallest=model.size),
        augment=Augment(rotate=False),
        task=Unconditional(edge=model.size),
        model=model,
        stages=(reconstruct, match),
        measures="faces",
        ema=0.995,
        log_every=5 if smoke else 200,
        save_every=500,
        sample_every=10 if smoke else 1000,
        samples=8,
    )


def reversible_faces_match(smoke: bool = False) -> Recipe:
    """Its second stage alone, from a run of its first (--start RUN): other seeds of the match (Fig. 10)."""
    recipe = reversible_faces(smoke)
    start = "" if smoke else "runs/reversible_faces_reconstruct"
    return replace(recipe, name="reversible_faces_match", stages=recipe.stages[1:], start=start)


def reversible_faces_reconstruct(smoke: bool = False) -> Recipe:
    """Its first stage alone: reconstruction from the kept dimensions."""
    recipe = reversible_faces(smoke)
    return replace(recipe, name="reversible_faces_reconstruct", stages=recipe.stages[:1])


def reversible_faces_mmd(smoke: bool = False) -> Recipe:
    """The second stage by maximum mean discrepancy (Sec. 4), from a run of the first (--start RUN)."""
    return _matched_by(reversible_faces_match(smoke), "mmd", 100.0)


def reversible_faces_swd(smoke: bool = False) -> Recipe:
    """The second stage by the sliced Wasserstein distance (Sec. 4), from a run of the first (--start RUN)."""
    return _matched_by(reversible_faces_match(smoke), "swd", 10.0)


def reversible_gan(smoke: bool = False) -> Recipe:
    """Reversible network as a plain GAN's generator: its inverse encodes for free (Sec. 4)."""
    recipe = reversible_faces(smoke)
    adam = Optim(lr=2e-4, betas=(0.0, 0.9))
    stage = Stage(
        name="gan",
        steps=20 if smoke else 4500,
        batch_size=8 if smoke else 64,
        objective=ReversibleGANConfig(width=8 if smoke else 32, survey=64 if smoke else 10_000),
        optim={"generator": adam, "critic": adam},
    )
    return replace(recipe, name="reversible_gan", stages=(stage,))


def _matched_by(recipe: Recipe, how, weight: float) -> Recipe:
    (match,) = recipe.stages
    assert isinstance(match.objective, ReversibleMatchConfig)
    objective = replace(match.objective, match=how, weight=weight)
    match = replace(match, objective=objective, steps=min(300, match.steps), optim={"encoder": match.optim["encoder"]})
    return replace(recipe, name=f"reversible_faces_{how}", stages=(match,))


RECIPES = {
    f.__name__: f
    for f in (
        reversible_faces, reversible_faces_reconstruct, reversible_faces_match, reversible_faces_mmd, reversible_faces_swd, reversible_gan
    )
}  # fmt: skip
