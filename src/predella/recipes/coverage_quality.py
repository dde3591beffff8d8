"""Likelihood, adversary, flow, and what they are worth together: the five rows of Lucas et al. 2018, on MNIST and on CIFAR-10.

    predella train cq_mnist_cqf --data mnist.npz        # coverage and quality, with a flow
    predella train cq_cifar_vae --data cifar10.npz      # coverage alone, Gaussian pixels
    predella train cq_cifar_gan --data cifar10.npz      # quality alone; then its bits, by a posterior for the frozen generator
    predella train cq_cifar_cqf --smoke                 # 2 CPU cores, 20 s

Rows: vae, vaef (with a flow), gan, cq (both losses), cqf (both, with a flow). Variants of cq_cifar_cqf: _residual, _iaf (residual, too),
_large (residual, IAF, a larger critic), _2scales (besides). Other pictures: `--data FOLDER --data.edge 64 --task.edge 64 --model.size 64`.
"""

from collections.abc import Callable
from dataclasses import replace

from predella.data.batches import Augment
from predella.data.images import Source
from predella.models.coverage_quality import CoverageQualityConfig, Flow
from predella.objectives.coverage_quality import CoverageQualityObjectiveConfig
from predella.recipe import Optim, Recipe, Stage
from predella.tasks.unconditional import Unconditional

GAN = Optim(lr=2e-4, betas=(0.5, 0.999), schedule="cosine")
CRITIC = Optim(lr=5e-4, betas=(0.5, 0.999))
MODEL = Optim(lr=5e-4, betas=(0.5, 0.999), clip=100.0, warmup=50, schedule="cosine")
MNIST = Source(paths=("MNIST",), channels=1, edge=32, pad=True, smallest=8)
CIFAR = Source(paths=("CIFAR-10",), edge=32, smallest=32)
QUALITY = 0.05  # of L_Q, in a unit of logits, to a bit per dimension
ROWS = {
    "vae": "Coverage alone, Gaussian pixels: a VAE.",
    "vaef": "Coverage alone, Gaussian features of a flow.",
    "gan": "Quality alone; then a posterior for the frozen generator, which gives its bits.",
    "cq": "Coverage and quality, Gaussian pixels.",
    "cqf": "Coverage and quality, Gaussian features of a flow.",
}


def row(kind: str, data: str, smoke: bool = False) -> Recipe:
    """One of `ROWS` on "mnist" or "cifar"."""
    grey = data == "mnist"
    flow = Flow() if kind.endswith("f") else None
    model = CoverageQualityConfig(channels=1 if grey else 3, counted=28 if grey else 0, latent=32 if grey else 128, flow=flow)
    steps = 1500 if grey else 3000
    both = CoverageQualityObjectiveConfig(quality=QUALITY, free=model.latent / 2)
    alone, adversary = replace(both, quality=0.0), replace(both, coverage=0.0, quality=1.0)
    likelihood = Stage(steps=steps, batch_size=64, objective=alone, optim={"model": MODEL})
    joint = replace(likelihood, objective=both, optim={"model": MODEL, "critic": CRITIC})
    held = replace(likelihood, name="latent", steps=steps // 3, objective=replace(alone, held=True))
    rest = {"name": "features", "steps": steps - steps // 3}
    gan = Stage(name="gan", steps=steps, batch_size=64, objective=adversary, optim={"model": GAN, "critic": GAN})
    bits = replace(likelihood, name="bits", steps=steps // 2, objective=replace(alone, frozen=True))
    stages = {
        "vae": (likelihood,),
        "vaef": (held, replace(likelihood, **rest)),
        "gan": (gan, bits),
        "cq": (joint,),
        "cqf": (held, replace(joint, **rest)),
    }[kind]
    if kind == "gan":
        model = replace(model, norm="batch", noiseless=True)
    recipe = Recipe(
        name=f"cq_{data}_{kind}",
        data=MNIST if grey else CIFAR,
        augment=Augment(flip=not grey, rotate=False),
        task=Unconditional(edge=32),
        model=model,
        stages=stages,
        measures="density",
        ema=0.99,
        log_every=100,
        save_every=500,
        sample_every=500,
    )
    return _toy(recipe) if smoke else recipe


def residual(recipe: Recipe) -> Recipe:
    """Residual encoder and decoder."""
    return _changed(recipe, {"residual": True}, {})


def iaf(recipe: Recipe) -> Recipe:
    """Residual networks, and a posterior by inverse autoregressive flow."""
    return _changed(recipe, {"residual": True, "iaf": 2}, {})


def large(recipe: Recipe) -> Recipe:
    """Residual networks, inverse autoregressive flow, and a large residual critic."""
    return _changed(iaf(recipe), {}, {"critic": "residual", "critic_width": 128})


def two_scales(recipe: Recipe) -> Recipe:
    """Residual networks, inverse autoregressive flow, and a flow of two scales."""
    return _changed(iaf(recipe), {"flow": replace(Flow(), scales=2)}, {})


def paper(recipe: Recipe) -> Recipe:
    """The largest of the slides' table: wide, residual, IAF, large critic; GPUs."""
    changed = _changed(large(recipe), {"width": 128, "latent": 256, "flow": Flow(width=128, blocks=4, couplings=3)}, {})
    first, last = changed.stages
    optim = {"model": replace(MODEL, lr=2e-4), "critic": GAN}
    stages = [replace(s, objective=replace(s.objective, free=128.0)) for s in (first, last)]
    stages = (replace(stages[0], steps=10_000), replace(stages[1], steps=190_000, optim=optim))
    return replace(changed, stages=stages, ema=0.999, save_every=10_000, keep_every=10_000)


VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {"residual": residual, "iaf": iaf, "large": large, "2scales": two_scales, "paper": paper}


def _changed(recipe: Recipe, model: dict, objective: dict) -> Recipe:
    stages = tuple(replace(s, objective=replace(s.objective, **objective)) for s in recipe.stages)
    return replace(recipe, model=replace(recipe.model, **model), stages=stages)


def _toy(recipe: Recipe) -> Recipe:
    """Seconds long, on pictures that are always there."""
    model = recipe.model
    assert isinstance(model, CoverageQualityConfig)
    flow = None if model.flow is None else Flow(scales=1, couplings=1, width=8, blocks=1)
    model = replace(model, size=16, counted=0, latent=4, width=4, flow=flow)
    stages = tuple(replace(s, steps=6, batch_size=8, objective=replace(s.objective, critic_width=4)) for s in recipe.stages)
    data = replace(recipe.data, paths=("photos" if model.channels == 3 else "digits",), smallest=8, edge=16, pad=False)
    return replace(recipe, data=data, task=Unconditional(edge=16), model=model, stages=stages, log_every=2, save_every=6, sample_every=6)


def _function(name: str, make: Callable[[bool], Recipe], doc: str | None) -> Callable[..., Recipe]:
    def function(smoke: bool = False) -> Recipe:
        return replace(make(smoke), name=name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


RECIPES = {
    f"cq_{data}_{kind}": _function(f"cq_{data}_{kind}", lambda smoke, k=kind, d=data: row(k, d, smoke), doc)
    for data in ("mnist", "cifar")
    for kind, doc in ROWS.items()
} | {
    f"cq_cifar_cqf_{name}": _function(
        f"cq_cifar_cqf_{name}", lambda smoke, v=variant: _toy(v(row("cqf", "cifar"))) if smoke else v(row("cqf", "cifar")), variant.__doc__
    )
    for name, variant in VARIANTS.items()
}
