"""What a model of pictures' own patches is for: variations, other sizes, mixtures, harmonised pastes, edits, animations.

All of them are `MetaInternal.generate` with other noise, sizes, weights or a picture put in between (Shaham et al. 2019, Sec. 4;
Bensadoun et al. 2021, Sec. 5.2).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from predella.errors import UserError
from predella.image.color import luma
from predella.image.pyramid import Size, aspect_fault, pyramid
from predella.image.resize import resize
from predella.losses.distances import l2
from predella.losses.texture import Texture
from predella.models.classifier import texture_maps
from predella.models.meta_internal import DETAIL, MetaInternal, missing
from predella.nn.hyper import Weights, interpolate_weights
from predella.train.optim import Optim

LARGEST = 2_000_000  # pixels of an answer
TOGETHER = 200_000_000  # of all answers to one picture
SHARP = 5.0  # σ of the blur of a mask's border, in pixels of a picture of 250 (Shaham et al. 2019, released code)
SEEN = 0.1  # a change of a pixel in [-1, 1] that counts
TUNING = Optim(lr=1e-3, betas=(0.5, 0.999), muon=("*weight",), muon_lr=0.02, muon_decay=0.0, muon_momentum=0.8, schedule="linear")
HELD, EVERY = 100.0, 4  # of `tuned`: the weight of the reconstruction, and from one that is made to the next so many steps
LAYOUT = 0.3  # of its steps: the first, which are of the coarser half of the scales
OTHER = 0.1  # mean difference between glances at two pictures, from which on they are two
UNDER_WAY = 20  # steps of a walk before its first frame
GROWTH = {"harmonize": 7, "edit": 20}  # radius by which a mask grows, likewise


def check_picture(picture: Tensor, least: int, name: str) -> None:
    """Refuse a picture that scales can't hold.

    Args:
        least: longest edge of the coarsest scale.

    Raises:
        UserError: its aspect, or too few pixels.
    """
    height, width = picture.shape[-2:]
    if fault := aspect_fault((height, width)):
        raise UserError(f"{name} has {fault}")
    if max(height, width) < least:
        raise UserError(f"{name} has {width}×{height} pixels; the coarsest scale of this model needs {least}, take a larger picture")


def at_home(model: MetaInternal, picture: Tensor, name: str) -> Tensor:
    """(1, 3, H, W) resampled so that its longest edge is the model's last.

    Raises:
        UserError: an aspect that the scales can't hold, or fewer pixels than the coarsest scale has.
    """
    check_picture(picture, model.edges[0], name)
    height, width = picture.shape[-2:]
    return resize(picture, model.fit((height, width))).clamp(-1, 1)


def check_size(size: Size, width: int = 64, least: int = 1) -> None:
    """Refuse a size that is none, or would not fit in memory.

    Args:
        width: channels of the primary network.
        least: longest edge of the coarsest scale.

    Raises:
        UserError: smaller than the coarsest scale, or more than LARGEST pixels; says how much they would need.
    """
    if max(size) < least:
        raise UserError(f"--size {size[1]}x{size[0]} is smaller than the coarsest scale; the longest edge must be at least {least}")
    if size[0] * size[1] > LARGEST:
        needed = 3 * 4 * width * size[0] * size[1] / 2**30  # a layer's input, output and copy
        raise UserError(f"{size[1]}×{size[0]} pixels would need about {needed:.0f} GB; at most {LARGEST:,} pixels can be made at once")


def check_together(count: int, size: Size) -> None:
    """Refuse so many pictures of a size that they would not fit in memory together.

    Raises:
        UserError: more than TOGETHER pixels; says how many can be made.
    """
    if count * size[0] * size[1] > TOGETHER:
        needed, most = 3 * 4 * count * size[0] * size[1] / 2**30, TOGETHER // (size[0] * size[1])
        raise UserError(
            f"{count} pictures of {size[1]}×{size[0]} pixels would need about {needed:.0f} GB; at most {most} can be made at once"
        )


def check_scale(scales: int, scale: int, least: int = 0) -> None:
    """Refuse a scale that a model of so many scales does not have.

    Raises:
        UserError: says which it has.
    """
    if not least <= scale < scales:
        raise UserError(f"--from-scale must lie in {least}…{scales - 1} for this model, got {scale}")


@torch.no_grad()
def weights_of(model: MetaInternal, picture: Tensor) -> list[Weights]:
    """θ of a picture's own generator, one forward pass.

    Raises:
        UserError: a model of one picture, and this is another.
    """
    if model.config.heads == "table" and (model.glance(picture.to(model.first)) - model.own).abs().mean() > OTHER:  # not if it is unknown
        raise UserError("this model was trained on one picture, without a hypernetwork, and this is another; give that, or another model")
    return model.all_weights(model.embed(picture.to(model.first.device)))


@torch.no_grad()
def likeness(model: MetaInternal, weights: Sequence[Weights], picture: Tensor) -> float:
    """dB: PSNR of the reconstruction (Eq. 5) of `picture`, which is at home: how well the model knows it."""
    made = model.reconstruct(weights, model.sizes((picture.shape[-2], picture.shape[-1])))[-1].clamp(-1, 1)
    return -10 * l2((made + 1) / 2, (picture.to(made) + 1) / 2).clamp(min=1e-12).log10().item()


@torch.enable_grad()
def tuned(model: MetaInternal, weights: Sequence[Weights], picture: Tensor, steps: int, generator: torch.Generator,
          tell: Callable[[float], None] | None = None) -> list[Weights]:  # fmt: skip
    """θ of a picture's generator, trained on by `steps` steps of all scales at once, the first of them of the coarser half only.

    Each scale is drawn to the picture by its reconstruction (Eq. 5), and its samples by the distance of textures: what a critic would
    need many steps for. Gradients go through all scales. A scale's noise is as strong as what the picture's own reconstruction leaves
    out at it when it was made last, but no stronger than before. Kernels take Muon's steps, biases Adam's, at rates that fall to 0.

    Args:
        weights: θ of one picture, (1, …) each.
        picture: (1, 3, H, W), at home.
        steps: so few as four leave the finer scales without a reconstruction.
        tell: hears the fraction done after each step, by the pixels that steps make.

    Returns:
        θ likewise, with the "detail" of each scale.

    Raises:
        UserError: the steps diverge.
    """
    device = model.first.device
    names = [{k: k.replace(".", "_") for k in scale if k != DETAIL} for scale in weights]  # as a module may call them
    learned = [nn.ParameterDict({n: scale[k][0].detach().clone() for k, n in own.items()}) for scale, own in zip(weights, names)]
    most = [scale.get(DETAIL, torch.ones(1, device=device)) for scale in weights]
    details = list(most)

    def theta(scales: int) -> list[Weights]:
        each = zip(names[:scales], learned, details)
        return [{**{k: parameters[n][None] for k, n in own.items()}, DETAIL: detail} for own, parameters, detail in each]

    optimizer = TUNING.build(learned)
    sizes = model.sizes((picture.shape[-2], picture.shape[-1]))
    real, maps = pyramid(picture.to(device), sizes), texture_maps()
    textures = [Texture(x, maps) for x in real]
    shown = [(len(sizes) + 1) // 2 if step < int(LAYOUT * steps) else len(sizes) for step in range(steps)]
    done = list(accumulate(sum(h * w for h, w in sizes[:scales]) for scales in shown))
    for step, scales in enumerate(shown):
        held = torch.zeros((), device=device)
        if step % EVERY == 0:
            made = model.reconstruct(theta(scales), sizes)
            held = EVERY * HELD * torch.stack([l2(a, b).mean() for a, b in zip(made, real)]).sum()
            for i, left in enumerate([missing(a.detach(), b) for a, b in zip(made, real[1:])], 1):
                details[i] = torch.minimum(left / model.amplitudes[i].clamp(min=1e-6), most[i])
        samples = model.generate(theta(scales), [z.to(device) for z in model.draw(1, sizes, generator)], sizes)
        loss = held + torch.stack([texture(x, generator) for texture, x in zip(textures, samples)]).sum()
        if not torch.isfinite(loss):
            raise UserError(f"tuning diverged at step {step + 1} of {steps}; take fewer, or none (--tune 0)")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(TUNING.factor(step, steps))
        if tell is not None:
            tell(done[step] / done[-1])
    return [{k: w.detach() for k, w in scale.items()} for scale in theta(len(sizes))]


def without_colour(made: Tensor, picture: Tensor) -> Tensor:
    """`made` (1, 3, H, W), or its luma (ITU-R BT.601) in all channels if `picture` (1, C, h, w) has no colour."""
    if not torch.equal(picture, picture[:, :1].expand_as(picture)):
        return made
    return luma(made).expand_as(made)


@torch.no_grad()
def variations(model: MetaInternal, weights: Sequence[Weights], size: Size, count: int, generator: torch.Generator,
               start: int = 0, picture: Tensor | None = None) -> Iterator[Tensor]:  # fmt: skip
    """`count` samples (1, 3, *size); from scale `start` on, on top of `picture` as small as the scale below (0 = from noise alone)."""
    sizes = model.sizes(size)
    for _ in range(count):
        noise = model.draw(1, sizes, generator)
        yield _from(model, weights, noise, sizes, start, picture)


def _from(model: MetaInternal, weights: Sequence[Weights], noise: Sequence[Tensor | None], sizes: list[Size], start: int,
          picture: Tensor | None) -> Tensor:  # fmt: skip
    below = None
    if start:
        assert picture is not None
        below = resize(picture, sizes[start - 1]).clamp(-1, 1)
    device = model.first.device
    moved = [None if z is None else z.to(device) for z in noise]
    made = model.generate(weights, moved, sizes, start, None if below is None else below.to(device))
    return made[-1].clamp(-1, 1).cpu()


@torch.no_grad()
def mixed(model: MetaInternal, first: Tensor, second: Tensor, share: float, start: int) -> list[Weights]:
    """θ of the first embedding (1, …) below scale `start`, and from there on those of (1 - share) · first + share · second (Sec. 5.2)."""
    between = torch.lerp(first, second, share)
    return [model.weights(first if i < start else between, i) for i in range(int(model.grown))]


@torch.no_grad()
def between(model: MetaInternal, a: Tensor, b: Tensor, steps: int, start: int, seed: int, size: Size | None = None,
            own: tuple[Sequence[Weights], Sequence[Weights]] | None = None) -> Tensor:  # fmt: skip
    """(steps, 3, *size), None = the first picture's size: samples from its generator to the other's, all of one noise.

    Args:
        own: θ of both that were tuned, between which the way is a line; None = it goes through embeddings (`mixed`).
    """
    size = size or (a.shape[-2], a.shape[-1])
    ends = [model.embed(x.to(model.first.device)) for x in (a, b)] if own is None else []
    made = []
    for k in range(steps):
        share = k / (steps - 1)
        if own is None:
            weights = mixed(model, *ends, share, start)
        else:
            weights = [x if i < start else interpolate_weights(x, y, share) for i, (x, y) in enumerate(zip(*own))]
        made += variations(model, weights, size, 1, torch.Generator().manual_seed(seed))
    both = torch.cat([a.flatten(2), b.flatten(2)], 2)[..., None]
    return torch.cat([without_colour(x, both) for x in made])


@torch.no_grad()
def made_own(model: MetaInternal, weights: Sequence[Weights], picture: Tensor, changed: Tensor, mask: Tensor, start: int, grow: float,
             generator: torch.Generator, name: str) -> tuple[Tensor, float]:  # fmt: skip
    """`picture` with a change that is made of its own patches: (1, 3, H, W), and the share of the pixels left as they are, 0 … 1, whose
    change lies beyond the mask and is lost.

    The model works at its own size, to which detail of the full size is added: the change's own, the less of it the
    coarser `start`, and fading towards its border so that no line of the cut stays; beyond it the picture's.

    Args:
        weights: θ of the picture's own generator.
        picture, changed: (1, 3, H, W) of one size.
        mask: (1, 1, H, W), 1 where it was changed.
        start: the scale that is given the change, at least 1; the higher, the more of it stays.
        grow: pixels of a picture of 250 that the mask grows by before its border is blurred.
    """
    whole = picture.shape[-2], picture.shape[-1]
    part = max(whole) / 250
    small = at_home(model, changed, name)
    sizes = model.sizes((small.shape[-2], small.shape[-1]))
    home = at_home(model, picture, name)
    made = _from(model, weights, model.draw(1, sizes, generator), sizes, start, small)
    soft = softened(mask, grown_by(grow, whole), SHARP * part)
    pixel = max(whole) / max(small.shape[-2:])
    inside = ((_depth(mask) - pixel) / (2 * pixel)).clamp(0, 1)
    kept = (start / max(1, len(sizes) - 1)) ** 2
    fine = kept * inside * (changed - resize(small, whole)) + (1 - mask) * (picture - resize(home, whole))
    left = soft == 0
    lost = ((changed - picture).abs().amax(1, keepdim=True) > SEEN)[left].float().mean().item() if left.any() else 0.0
    return without_colour(torch.lerp(picture, resize(made, whole) + fine, soft).clamp(-1, 1), picture), lost


def grown_by(grow: float, size: Size) -> int:
    """Pixels that a mask of `size` grows by, if it is `grow` pixels of a picture of 250."""
    return round(grow * max(size) / 250)


def softened(mask: Tensor, grow: int, sigma: float) -> Tensor:
    """(1, 1, H, W) → the same, larger by a disk of `grow` pixels, blurred by σ pixels, inside as it was."""
    if grow:
        mask = (_depth(1 - mask) <= grow).to(mask)
    edge = 2 * int(3 * sigma) + 1
    from kornia.filters import gaussian_blur2d

    blurred = gaussian_blur2d(mask, (edge, edge), (sigma, sigma), border_type="replicate")
    return blurred / blurred.amax().clamp(min=1e-6)


def _depth(mask: Tensor) -> Tensor:
    """(1, 1, H, W) → how far each pixel of the mask is from those outside; 0 there."""
    from scipy.ndimage import distance_transform_edt

    return torch.from_numpy(distance_transform_edt((mask[0, 0] >= 0.5).cpu().numpy())).to(mask).view_as(mask)


@torch.no_grad()
def frames(model: MetaInternal, weights: Sequence[Weights], size: Size, count: int, generator: torch.Generator,
           start: int = 2, back: float = 0.1, inertia: float = 0.7) -> Iterator[Tensor]:  # fmt: skip
    """`count` pictures (1, 3, *size) of a random walk in the noise around the reconstruction's (Shaham et al. 2019, Sup. 3).

    The walk is under way before the first frame, so that all of them have the same grain.

    z_t = a · z_rec + (1 - a) · (z_{t-1} + d), d = b · (z_{t-1} - z_{t-2}) + (1 - b) · noise, at every scale from `start` on;
    those below keep the reconstruction's.

    Args:
        back: a, how strongly the walk is drawn back.
        inertia: b, how steadily it moves; the walk is the narrower the larger it is (released code: 0.9, at which little moves here).
    """
    sizes = model.sizes(size)
    rest: list[Tensor] = [model.fixed(1, sizes[0]).cpu(), *[torch.zeros_like(z) for z in model.draw(1, sizes, generator)[1:]]]
    last, before = [z.clone() for z in rest], [z.clone() for z in rest]
    for step in range(UNDER_WAY + count):
        if step >= UNDER_WAY:
            yield _from(model, weights, last, sizes, 0, None)
        fresh = model.draw(1, sizes, generator)
        for i in range(start, len(sizes)):
            move = inertia * (last[i] - before[i]) + (1 - inertia) * fresh[i]
            before[i], last[i] = last[i], back * rest[i] + (1 - back) * (last[i] + move)
