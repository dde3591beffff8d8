"""Functions whose blends are images, too: regression, and an adversary that looks at what lies between two images' weights.

Klocek et al. 2019 (Sec. 3.3) blend weights of networks trained by regression alone; that a critic should judge interpolations is of
Berthelot et al. 2019 (adversarially constrained autoencoder interpolation), here with real images beside them. On an arc around the
mean weights they stay as far from it as the images are; on the line they come nearer to it, to what all have in common.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.image.coords import WHOLE, Region
from predella.image.resize import resize
from predella.losses.adversarial import LOG_RATIO
from predella.losses.distances import Perceptual
from predella.models.functional_image import FunctionalImage
from predella.models.functional_whole import WholeNetworks, WholePaint
from predella.nn.critics import FeatureCritic, ImageCritic
from predella.nn.hyper import Weights
from predella.objectives.base import Objective, Phase
from predella.objectives.functional_image import FunctionalImageObjective, FunctionalRegression, split_condition
from predella.objectives.perceptual import Name, perceptual
from predella.tasks.base import Batch

FOLLOWS = 0.02  # how far the mean goes towards a batch's in a step
WAY, LIKENESS, CRITIC = 1, 2, 3  # what is drawn for a step besides the regression's pixels: how far to blend, where to look


@config
class FunctionalBlendObjectiveConfig:
    """Args:
    distance, queries: of the regression, at so many random pixels of each image.
    perceptual, perceptual_weight: of a second distance, between the features of whole images and those of their functions at one image
        of each pair: "cifar_classifier" is shipped, "alexnet" and "vgg16" are LPIPS and want its weights; "pixels" = none.
    quality: λ of the adversary's term.
    path: from one image's weights to the other's; "arc" goes around their mean (`FunctionalImage.between`).
    ends: share of the way between two images, at either end, that the critic does not look at; 0 = all of it is judged, .5 = the
        middle alone.
    critic: "pixels", or the features that it looks at: those of the shipped "cifar_classifier", or of "vgg16" or "alexnet", with
        their weights.
    critic_width: channels of its first layer.
    off_grid: the features' distance and the critic see functions on a grid one pixel narrower than the images, at a random place, which
        meets them between pixels, the distance in half of the steps a quarter of the image, twice as large (its target is bicubic);
        else only at the pixels' centres, and larger sizes show what nothing has trained.
    """

    kind: Literal["functional_blend"] = "functional_blend"
    distance: Literal["l1", "l2"] = "l2"
    queries: int = 1024
    perceptual: Name = "pixels"
    perceptual_weight: float = 1.0
    quality: float = 0.01
    path: Literal["line", "arc"] = "line"
    ends: float = 0.0
    critic: Name = "pixels"
    critic_width: int = 32
    off_grid: bool = False

    def __post_init__(self):
        positive = {k: getattr(self, k) for k in ("quality", "perceptual_weight", "queries", "critic_width")}
        if min(positive.values()) <= 0:
            raise ValueError(f"{', '.join(positive)} must be positive, got {', '.join(f'{v:g}' for v in positive.values())}")
        if not 0 <= self.ends <= 0.5:
            raise ValueError(f"ends must lie in 0….5 of the way, got {self.ends}")

    def build(self, model: nn.Module) -> "FunctionalBlend":
        """The objective that trains `model`.

        Raises:
            ValueError: no model with one network an image.
        """
        if not isinstance(model, FunctionalImage) or not isinstance(model.config.field, WholeNetworks) or model.config.mask:
            raise ValueError("functional_blend trains a FunctionalImage with one network an image (field.kind whole) and no mask")
        networks = (perceptual(name) for name in (self.critic, self.perceptual))
        return FunctionalBlend(model, self, *(n if isinstance(n, Perceptual) else None for n in networks))


class FunctionalBlend(Objective):
    """Phases: critic, hypernetwork.

    Args:
        features: whose maps the critic looks at; None = images.
        likeness: the second distance of the regression; None = there is none.
    """

    def __init__(self, model: FunctionalImage, config: FunctionalBlendObjectiveConfig, features: Perceptual | None = None,
                 likeness: Perceptual | None = None):  # fmt: skip
        assert isinstance(model.config.field, WholeNetworks) and isinstance(model.paint, WholePaint)
        self.model, self.paint, self.config, self.edge = model, model.paint, config, model.config.field.edge
        self.regression = FunctionalRegression(model, FunctionalImageObjective(distance=config.distance, queries=config.queries))
        self.features, self.likeness = features, likeness
        if features is None:
            self.critic = ImageCritic(3, self.edge, config.critic_width)
        else:
            maps = features.seen(torch.zeros(1, 3, self.edge, self.edge))
            self.critic = FeatureCritic([(m.shape[1], m.shape[-1]) for m in maps], config.critic_width)
        self.parts: Mapping[str, nn.Module] = {"model": model, "critic": self.critic}
        self.group = 2

    def phases(self) -> tuple[Phase, ...]:
        weights = {"distance": 1.0, "quality": self.config.quality}
        if self.likeness is not None:
            weights["perceptual"] = self.config.perceptual_weight
        return (
            Phase("critic", self.critic_losses, {"real": 1.0, "fake": 1.0}, [self.critic]),
            Phase("hypernetwork", self.losses, weights, [self.model]),
        )

    def follow(self, before: Objective) -> None:
        """A critic of the same size goes on."""
        if isinstance(before, FunctionalBlend):
            mine, theirs = self.critic.state_dict(), before.critic.state_dict()
            if {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}:
                self.critic.load_state_dict(theirs)

    def begin(self, batches: Iterator[Batch]) -> None:
        """Fit the mean that arcs go around; while the encoder learns, it follows."""
        self.regression.end(batches)

    def end(self, batches: Iterator[Batch]) -> None:
        """Fit it to the trained model."""
        self.regression.end(batches)

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        """Raise ValueError for fewer than two images, or images of another size than the model's."""
        edge = self.edge
        if len(batch.target) < 2 or tuple(batch.target.shape[-2:]) != (edge, edge):
            height, width = batch.target.shape[-2:]
            raise ValueError(f"blends need two images or more of {edge}×{edge}, got {len(batch.target)} of {width}×{height}; set data.edge")
        if self.likeness is not None:
            self.likeness.to(batch.target.device).seen(batch.target[:1])  # says whether images are too small for it

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The data are real, blends fake."""
        with torch.no_grad():
            image = split_condition(batch.condition)[0]
            self.paint.mean.lerp_(batch.gather(self.paint.embed(image)).to(self.paint.mean).mean(0), FOLLOWS)
            fake = self.blends(self.model.weights(image), batch)
        return {"real": LOG_RATIO.real(self.judged(batch.target)), "fake": LOG_RATIO.fake(self.judged(fake))}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The regression's distances, and what the critic thinks of blends."""
        theta = self.model.weights(split_condition(batch.condition)[0])
        losses = {
            "distance": self.regression.distance(theta, batch),
            "quality": LOG_RATIO.generator(self.judged(self.blends(theta, batch))),
        }
        if self.likeness is not None:
            some, size = {name: w[::2] for name, w in theta.items()}, (self.edge, self.edge)
            window = self.window(batch, LIKENESS, closer=True)
            again, target = self.model.render(some, size, window), resize(batch.target[::2], size, region=window)
            losses["perceptual"] = self.likeness.to(again.device)(again, target).mean()  # it is no part: nothing of it trains
        return losses

    def judged(self, images: Tensor) -> Tensor:
        """(B, 3, edge, edge) → the critic's logits (B,)."""
        if self.features is None:
            return self.critic(images)
        return self.critic(self.features.to(images.device).seen(images))  # they are no part: nothing of them trains

    def blends(self, theta: Weights, batch: Batch) -> Tensor:
        """(B // 2, 3, edge, edge): somewhere between each two neighbours of the batch, every place that is judged as likely."""
        half = len(batch.target) // 2
        t = batch.share(torch.rand(half * batch.part[1], generator=batch.generator(WAY))).to(batch.target)
        t = self.config.ends + (1 - 2 * self.config.ends) * t
        a, b = ({name: w[i : 2 * half : 2] for name, w in theta.items()} for i in (0, 1))
        return self.model.render(self.model.between(a, b, t, path=self.config.path), (self.edge, self.edge), self.window(batch, CRITIC))

    def window(self, batch: Batch, purpose: int, closer: bool = False) -> Region:
        """What is rendered of functions: all, or off the grid a pixel less, anywhere; `closer`: or, as likely, half of each edge.

        Real images stay on their grid: resampled ones are softer, and blends should be as sharp between pixels as images are on them.
        """
        if not self.config.off_grid:
            return WHOLE
        half, down, right = torch.rand(3, generator=batch.generator(purpose)).tolist()
        side = 1.0 if closer and half < 0.5 else 2 - 2 / self.edge
        top, left = (share * (2 - side) - 1 for share in (down, right))
        return top, left, top + side, left + side

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B // 2, 3, edge, 5 · edge): the function of one image, three blends, that of its neighbour."""
        theta = self.model.weights(split_condition(batch.condition)[0][: 2 * (len(batch.target) // 2)])
        a, b = ({k: w[i::2] for k, w in theta.items()} for i in (0, 1))
        size = (self.edge, self.edge)
        ways = (self.model.between(a, b, t, path=self.config.path) for t in (0.0, 0.25, 0.5, 0.75, 1.0))
        return torch.cat([self.model.render(w, size).clamp(-1, 1) for w in ways], -1)
