"""Meta internal learning (Bensadoun et al. 2021): how one scale of the generators is trained, for many pictures at once.

The generator of each picture plays against a critic of its own patches, whose weights come from another hypernetwork (Eq. 9–11);
the two share nothing, for the reasons of Sec. 4 and App. A. What lies below the scale is made without gradient; earlier heads stay
as they are, but the embedding goes on, held by the reconstruction of all scales (Eq. 15). A distance of textures may stand beside the
critic or in its place; then all scales can be trained at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.pyramid import Size, aspect_fault, pyramid, scale_sizes
from predella.losses.adversarial import WASSERSTEIN, logits_and_slopes
from predella.losses.distances import l2
from predella.losses.texture import Texture
from predella.models.classifier import texture_maps
from predella.models.meta_internal import MetaInternal, MetaInternalConfig, Window, cut, missing
from predella.nn.heads import Table
from predella.nn.hyper import Weights, apply_weights
from predella.objectives.base import Objective, Phase
from predella.tasks.base import Batch

SURVEY = 128  # pictures that amplitudes are taken from, at most
SLOPE = 0.2  # of the leaky ReLUs of a critic that is no hypernetwork's


@config
class MetaInternalObjectiveConfig:
    """Args:
    scale: that is trained; those below are.
    critic: "hyper" = every picture's own; "shared" = one for all, "embedded" = the generator's embedding is the critic's, too:
        what the paper's Sec. 4.2 warns of. One picture needs no more than "shared".
    penalty: "real" = squared gradients, of the sum of the patches' logits, at real pictures (Eq. 14 but for that sum); "between" =
        squared distance of the gradient's norm from 1 between real and fake (Gulrajani et al. 2017), as the released code does.
    lip: λ₁, of the penalty.
    reconstruction: λ₂; with 0 none is made.
    accumulate: the reconstruction counts at all scales up to this one (Eq. 15), or at this one alone, as for large sets, and then
        nothing below it is told of it.
    embed: train the embedding, too; False = it stays, and with it all that the scales below make (an encoder with batch norm keeps
        its statistics, then).
    window: longest edge of the part of a picture that a step looks at, at the scale that is trained, another one every time; 0 = all
        of the picture. Patches of 11 pixels need no more, and more pictures fit in a step.
    adversarial: weight of the critic's word on samples; 0 = there is no critic.
    texture: weight of the distance between a sample's patches and features and the picture's (`Texture`), which no critic needs to learn
        first; of whole pictures, so without a window.
    together: all scales up to this one are trained in every step, each on what those below make, without a critic.
    """

    kind: Literal["meta_internal"] = "meta_internal"
    scale: int
    critic: Literal["hyper", "shared", "embedded"] = "hyper"
    penalty: Literal["real", "between"] = "real"
    lip: float = 0.1
    reconstruction: float = 50.0
    accumulate: bool = True
    embed: bool = True
    window: int = 0
    adversarial: float = 1.0
    texture: float = 0.0
    together: bool = False

    def __post_init__(self):
        for name in ("scale", "lip", "reconstruction", "window", "adversarial", "texture"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not self.adversarial and not self.texture:
            raise ValueError("adversarial and texture are both 0, so nothing says what samples should look like; give one a weight")
        if self.texture and self.window:
            raise ValueError(f"textures are of whole pictures; set window to 0 (got {self.window}), or texture to 0")
        if self.together and self.reconstruction and not self.accumulate:
            raise ValueError("scales that are trained together are held by the reconstruction of all; set accumulate to true")
        if self.together and self.adversarial:
            raise ValueError("scales that are trained together have no critic; set adversarial to 0 and texture above it")
        if self.critic == "embedded" and not self.embed:
            raise ValueError("critic 'embedded' trains the embedding; set embed to true, or choose another critic")

    def build(self, model: nn.Module) -> "MetaInternalObjective":
        """The objective that trains one scale of `model`.

        Raises:
            ValueError: another model, or a scale that it does not have.
        """
        if not isinstance(model, MetaInternal):
            raise ValueError(f"{self.kind} trains a MetaInternal, got a {type(model).__name__}")
        if self.scale >= model.config.scales:
            raise ValueError(f"scale must be below model.scales = {model.config.scales}, got {self.scale}")
        return MetaInternalObjective(model, self)


class HyperCritic(nn.Module):
    """Logits of the patches of a picture, by the picture's own weights (Eq. 9–11), or by the same for all."""

    def __init__(self, config: MetaInternalConfig, kind: Literal["hyper", "shared", "embedded"]):
        super().__init__()
        own, self._embedding = kind != "shared", config.embedding
        self._primary = (config.primary(1, False) if own else config.primary(1, False, SLOPE),)
        self.encoder = config.new_encoder() if kind == "hyper" and config.heads != "table" else nn.Identity()
        self.heads = config.new_heads(self._primary[0]) if own else Table(self._primary[0].shapes())

    def weights(self, embedding: Tensor) -> Weights:
        return self._primary[0].scaled(self.heads(embedding[:, : self._embedding]))

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1, H - 2 · layers, W - 2 · layers): one logit a patch; a picture smaller than a patch is put amid zeros."""
        least = 2 * self._primary[0].radius + 1
        rows, columns = (max(0, -(-(least - n) // 2)) for n in x.shape[-2:])
        return apply_weights(self._primary[0], weights, F.pad(x, (columns, columns, rows, rows)))


class MetaInternalObjective(Objective):
    """Phases: generator and, where there is one, critic; it looks at the samples that the generator has just learned from."""

    def __init__(self, model: MetaInternal, config: MetaInternalObjectiveConfig):
        self.model, self.config, self.scale = model, config, config.scale
        self._critic = HyperCritic(model.config, config.critic) if config.adversarial else None
        self._last: tuple[Batch | None, list[Tensor]] = None, []
        self.parts: Mapping[str, nn.Module] = {"model": model} | ({} if self._critic is None else {"critic": self._critic})
        self._maps = texture_maps() if config.texture else None

    @property
    def critic(self) -> HyperCritic:
        """Where there is one: `adversarial` is not 0."""
        assert self._critic is not None
        return self._critic

    def phases(self) -> tuple[Phase, ...]:
        critic = {"real": 1.0, "fake": 1.0, "lip": self.config.lip}
        weights = {k: getattr(self.config, k) for k in ("adversarial", "reconstruction", "texture")}
        learning = [self.model.encoder] if self.config.embed else []
        heads = [self.model.heads[i] for i in self._trained()]
        generator = Phase("generator", self.generator_losses, {k: w for k, w in weights.items() if w}, [*learning, *heads])
        if self._critic is None:
            return (generator,)
        judging = [self._critic, self.model.encoder] if self.config.critic == "embedded" else [self._critic]
        return generator, Phase("critic", self.critic_losses, critic, judging)

    def _trained(self) -> range:
        """The scales that learn."""
        return range(0 if self.config.together else self.scale, self.scale + 1)

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        """Raise ValueError for pictures that the scales can't hold."""
        for _, pictures in batch.by_size():
            height, width = pictures.shape[-2:]
            if fault := aspect_fault((height, width)):
                raise ValueError(fault)
            if max(height, width) < self.model.edges[-1]:
                last = self.model.edges[-1]
                raise ValueError(f"{width}×{height} pixels are fewer than the last scale's {last}; set data.longest or lower model.finest")
        if self.model.config.heads == "table" and self.config.critic == "hyper" and self.config.adversarial:
            raise ValueError("a model without hypernetwork has no critic with one; set objective.critic to 'shared'")

    def follow(self, before: Objective) -> None:
        """The critic goes on from scale to scale."""
        if isinstance(before, MetaInternalObjective) and "critic" in self.parts and "critic" in before.parts:
            self.critic.load_state_dict(before.critic.state_dict())

    def begin(self, batches: Iterator[Batch]) -> None:
        """The scale's heads begin as those below, unless they were trained before (`--start`) or are trained together with them; the
        noise gets its amplitude."""
        known = int(self.model.grown) if self.started else 0
        if self.scale and self.scale >= known and not self.config.together:
            self.model.heads[self.scale].load_state_dict(self.model.heads[self.scale - 1].state_dict())
        self.model.grown.fill_(max(self.scale + 1, known))
        self._survey(batches)

    def end(self, batches: Iterator[Batch]) -> None:
        """The amplitudes of the trained model, over the data; where the scales below moved, they stay those it was trained with."""
        if not self.config.together:
            self._survey(batches)

    @torch.no_grad()
    def _survey(self, batches: Iterator[Batch]) -> None:
        rows, details, known, training = [], [], set[float](), self.model.training
        self.model.eval()
        for batch in batches:
            if self.model.config.heads == "table":
                self.model.own.copy_(self.model.glance(batch.by_size()[0][1][:1]))
            sums = batch.target.double().sum((1, 2, 3)).tolist()
            if rows and (known.issuperset(sums) or sum(map(len, rows)) + len(sums) > SURVEY):
                break
            known.update(sums)
            rows.append(self._missing(batch))
            if self.model.config.noise == "picture":
                details.append(torch.cat([self.model.details(p)[:, 1 : self.scale + 1] for _, p in batch.by_size()]))
        self.model.train(training)
        left = torch.cat(rows).square().mean(0)
        if details:  # more noise than detail leaves specks
            left = (left / torch.cat(details).square().mean(0)).clamp(max=1)
        self.model.amplitudes[1 : self.scale + 1] = left.sqrt()

    def _missing(self, batch: Batch) -> Tensor:
        """(B, scale): root mean square of what the reconstruction below each scale leaves out at it."""
        out, embedding = [], self._embedding(batch)
        for items, pictures in batch.by_size():
            real = self._pyramid(pictures)
            weights = [self.model.weights(embedding[items], i) for i in range(self.scale)]
            made = self.model.reconstruct(weights, self._sizes(real)) if self.scale else []
            out.append(torch.stack([missing(a, b) for a, b in zip(made, real[1:])], 1) if made else real[0].new_zeros(len(items), 0))
        return torch.cat(out)

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 13 and 14, per picture and then over pictures."""
        fakes = self._seen_fakes(batch)
        seen = self._embedding(batch) if self.config.critic == "embedded" else self._looked_at(batch)
        theta = self.critic.weights(seen)
        terms: dict[str, list[Tensor]] = {"real": [], "fake": [], "lip": []}
        seeds = _seeds(batch)
        for (items, pictures), fake in zip(batch.by_size(), fakes):
            real, fake, (own,) = self._pyramid(pictures)[-1], fake.to(pictures), _of(items, theta)
            real = cut(real, self._window((real.shape[-2], real.shape[-1]), batch, 2))
            judge = partial(self.critic, own)
            if self.config.penalty == "real":
                logits, off = logits_and_slopes(judge, real)
            else:
                draws = [torch.rand(1, 1, 1, 1, generator=torch.Generator().manual_seed(seeds[i] ^ 3)) for i in items.tolist()]
                t = torch.cat(draws).to(real)
                logits, off = judge(real), logits_and_slopes(judge, torch.lerp(real, fake, t))[1] - 1
            terms["real"].append(WASSERSTEIN.real(logits) * len(items))
            terms["fake"].append(WASSERSTEIN.fake(judge(fake)) * len(items))
            terms["lip"].append(off.square().mean() * len(items))
        return {k: torch.stack(v).sum() / len(batch.target) for k, v in terms.items()}

    def generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 13 for the generator, Eq. 15, and the samples' textures, mean over the scales that learn."""
        embedding = self._embedding(batch)
        weights = self._weights(embedding, self.config.together or (self.config.accumulate and self.config.reconstruction > 0))
        fakes = self._fakes(batch, weights)
        if self.config.adversarial:
            self._last = batch, [x[-1].detach() for x in fakes]
        theta = self._judges(batch, embedding) if self.config.adversarial else {}
        adversarial, reconstruction, texture, seeds = [], [], [], _seeds(batch)
        for (items, pictures), fake in zip(batch.by_size(), fakes):
            real = self._pyramid(pictures)
            if self.config.adversarial:
                adversarial.append(WASSERSTEIN.generator(self.critic(*_of(items, theta), fake[-1])) * len(items))
            if self.config.texture:
                texture.append(self._textures(real[-len(fake) :], fake, [seeds[i] for i in items.tolist()]))
            if not self.config.reconstruction:
                continue
            window = self._window((real[-1].shape[-2], real[-1].shape[-1]), batch, 3)
            made = self._reconstructed(_of(items, *weights), self._sizes(real), window)
            whole = [*real[:-1], cut(real[-1], window)]
            reconstruction.append(torch.stack([l2(a, b).sum() for a, b in zip(made, whole[-len(made) :])]).mean())
        terms = {"adversarial": adversarial, "reconstruction": reconstruction, "texture": texture}
        return {k: torch.stack(v).sum() / len(batch.target) for k, v in terms.items() if v}

    @torch.no_grad()
    def _judges(self, batch: Batch, embedding: Tensor) -> Weights:
        """θ of each picture's critic."""
        return self.critic.weights(embedding if self.config.critic == "embedded" else self._looked_at(batch))

    def _textures(self, real: Sequence[Tensor], made: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
        """Σ over pictures of ln(1 + distance of a sample's texture from the picture's), mean over scales.

        Far from a calm picture, whose own patches deviate by little, the distance is a thousand times that from another; its logarithm's
        gradient is not.
        """
        out = []
        for level, sample in zip(real, made):
            for picture, own, seed in zip(level.split(1), sample.split(1), seeds):
                out.append(Texture(picture, self._maps)(own, torch.Generator().manual_seed(seed ^ 5)).log1p())
        return torch.stack(out).sum() / len(real)

    def _reconstructed(self, weights: list[Weights], sizes: list[Size], window: Window | None) -> list[Tensor]:
        """Of all scales up to this one, of which only the window is made."""
        if self.config.accumulate and self.scale:
            below = self.model.reconstruct(weights[:-1], sizes[:-1])
            return [*below, self.model.step(weights[-1], below[-1], None, sizes[-1], window)]
        return [self._last_step(weights, self.model.rest(weights, sizes), sizes, window)]

    def _weights(self, embedding: Tensor, learn: bool) -> list[Weights]:
        """θ of the scales up to this one; those below with a gradient only if they, or through them the embedding, are to `learn`."""
        with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
            below = [self.model.weights(embedding, i) for i in range(self.scale)]
        return [*below, self.model.weights(embedding, self.scale)]

    def _last_step(self, weights: list[Weights], noise: Sequence[Tensor | None], sizes: list[Size], window: Window | None) -> Tensor:
        """The picture of this scale, or a window of it; what lies below is made without gradient."""
        if not self.scale:
            return self.model.step(weights[0], None, noise[0], sizes[0], window)
        part = self.model.windows(sizes[-2:], window)[0] if window else None
        with torch.no_grad():
            below = self.model.generate(weights[:-1], noise[:-1], sizes[:-1], window=part)[-1]
        return self.model.step(weights[-1], below, noise[-1], sizes[-1], window, (sizes[-2], part) if part else None)

    def _window(self, size: Size, batch: Batch, purpose: int) -> Window | None:
        """A random part of a picture of `size`, or None for all of it; pixels at the edges are seen as often as others.

        All pictures of a size in a batch have the same one, whichever process they fall to; each purpose has another.
        """
        if not self.config.window or max(size) <= self.config.window:
            return None
        generator = torch.Generator().manual_seed(batch.seed ^ (purpose + 4 * (size[0] << 16 | size[1])))
        height, width = (min(self.config.window, n) for n in size)
        places = (int(torch.randint(1 - w, n, (), generator=generator)) for n, w in zip(size, (height, width)))
        top, left = (min(max(0, place), n - w) for place, n, w in zip(places, size, (height, width)))
        return top, left, height, width

    @torch.no_grad()
    def _seen_fakes(self, batch: Batch) -> list[Tensor]:
        """The samples of the generator's phase, if that was just now, or new ones."""
        (last, fakes), self._last = self._last, (None, [])
        return fakes if last is batch else [x[-1] for x in self._fakes(batch, self._weights(self._embedding(batch), False))]

    def _fakes(self, batch: Batch, weights: list[Weights], part: bool = True) -> list[list[Tensor]]:
        """One sample of each picture, or a window of it, by size, at the scales that learn; gradients reach their own weights only."""
        seeds, out = _seeds(batch), []
        for items, pictures in batch.by_size():
            sizes = scale_sizes((pictures.shape[-2], pictures.shape[-1]), self.model.edges[: self.scale + 1])
            draws = [self.model.draw(1, sizes, torch.Generator().manual_seed(seeds[i])) for i in items.tolist()]
            noise = [torch.cat(z).to(pictures) for z in zip(*draws)]
            own = _of(items, *weights)
            if self.config.together:
                out.append(self.model.generate(own, noise, sizes, apart=True))
            else:
                out.append([self._last_step(own, noise, sizes, self._window(sizes[-1], batch, 1) if part else None)])
        return out

    def _embedding(self, batch: Batch) -> Tensor:
        """(B, E): of all pictures at once, whatever their sizes, for batch norm to see them together."""
        self.model.encoder.train(self.config.embed and self.model.training)
        return self.model.embed(*(p for _, p in batch.by_size()))[_order(batch)]

    def _looked_at(self, batch: Batch) -> Tensor:
        """(B, E): the critic's own embedding."""
        return self.critic.encoder(self.model.square(*(p for _, p in batch.by_size())))[_order(batch)]

    def _pyramid(self, pictures: Tensor) -> list[Tensor]:
        sizes = scale_sizes((pictures.shape[-2], pictures.shape[-1]), self.model.edges[: self.scale + 1])
        return pyramid(pictures, sizes)

    @staticmethod
    def _sizes(pictures: list[Tensor]) -> list[tuple[int, int]]:
        return [(p.shape[-2], p.shape[-1]) for p in pictures]

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor | None:
        """(B, 3, H, 4W): picture | reconstruction | two samples, at this scale and in a common frame."""
        weights, rows = self._weights(self._embedding(batch), False), []
        fakes = self._fakes(batch, weights, part=False)
        other = self._fakes(Batch(batch.target, seed=batch.seed ^ 1, sizes=batch.sizes), weights, part=False)
        for (items, pictures), (*_, a), (*_, b) in zip(batch.by_size(), fakes, other):
            real = self._pyramid(pictures)
            made = self.model.reconstruct(_of(items, *weights), self._sizes(real))[-1]
            rows += list(torch.cat([real[-1], made, a, b], -1).clamp(-1, 1).split(1))
        height, width = max(r.shape[-2] for r in rows), max(r.shape[-1] for r in rows)
        framed = [F.pad(r, (0, width - r.shape[-1], 0, height - r.shape[-2]), value=1.0) for r in rows]
        return torch.cat(framed)[_order(batch)]


def _of(items: Tensor, *weights: Weights) -> list[Weights]:
    """θ of some items, of each network."""
    return [{k: w[items] for k, w in theta.items()} for theta in weights]


def _seeds(batch: Batch) -> list[int]:
    """One an item, the same whichever process it falls to."""
    return batch.share(torch.randint(2**62, (batch.whole,), generator=batch.generator())).tolist()


def _order(batch: Batch) -> Tensor:
    """From the items by size back to their order in the batch."""
    return torch.cat([items for items, _ in batch.by_size()]).argsort()
