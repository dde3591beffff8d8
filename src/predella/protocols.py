"""What `predella evaluate` measures of each kind of model, and how: one function a protocol."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from predella.apps import internal as own
from predella.apps import patches
from predella.apps.device import device_of, placed
from predella.apps.fill import fill as fill_picture
from predella.data.images import Images
from predella.errors import UserError
from predella.image.contract import from_uint8
from predella.image.files import Picture
from predella.image.fit import cut_square, fit_square
from predella.image.resize import resize
from predella.losses.distances import Perceptual, lpips
from predella.losses.likelihood import quantized
from predella.metrics import density, filling, generation, internal, restoration
from predella.metrics import points as point_sets
from predella.metrics import super_resolution as sr
from predella.metrics.features import Features, load_features, load_layers, load_maps
from predella.metrics.fidelity import mean
from predella.models.base import Model, load
from predella.models.coverage_quality import CoverageQuality
from predella.models.functional_image import FunctionalImage
from predella.models.functional_points import FunctionalPoints, pixel_points, resampled
from predella.models.functional_whole import WholeNetworks, WholePaint
from predella.models.meta_internal import MetaInternal
from predella.models.reversible import DENSITIES, ClassNormals, Density, Reversible
from predella.models.tower import Tower
from predella.nn.classics import CIFARResNet20, FIDInception
from predella.objectives.functional_points import FunctionalPointsObjectiveConfig
from predella.objectives.perceptual import perceptual
from predella.recipe import Recipe, Task
from predella.tasks.base import check_pictures
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression
from predella.tasks.layout import Layout
from predella.tasks.masking import Masking
from predella.tasks.super_resolution import SuperResolution
from predella.tasks.unconditional import Unconditional
from predella.weights import load_classic

log = logging.getLogger(__name__)
AS_GIVEN: dict[str, Task] = {  # the one answer without a network
    "bicubic_16": SuperResolution(patch=4, scales=(16.0, 16.0)),
    "grey": Colorization(),
    "jpeg": Decompression(),
}
FACES = "vgg16_relu4_3"  # features of the faces' table
JUDGE = "mnist_classifier"
EACH = 100  # samples a class
BLENDS = {  # texture, and what is where; AlexNet for models that VGG16 has trained
    "vgg16": ("vgg16_relu4_3", "vgg16_relu5_3"),
    "alexnet": ("alexnet_relu4", "alexnet_relu5"),
}
PAIRINGS = 3  # of the pictures of a set with one another, for blends
ANSWERS = 10  # a condition
PLACES = "vgg16_relu2_2"  # features at all places of a picture


@dataclass(frozen=True)
class Asked:
    """What the user may choose.

    Attributes:
        scales, ensemble: for enlarging.
        part: (first, last) of the pictures, last excluded; () = all.
        weights: the folder of the features' weights; None = found or fetched.
        seed: of samples.
        curve: measure the kept checkpoints instead of the finished model.
        box: cut from each picture, instead of the recipe's; () = nothing.
        samples, tune: of each picture's own model, and steps of training it first.
        conditions: of how many pictures a tower's answers are compared; None = all.
        features: by which answers, blends and a density's samples are compared; "vgg16" means what suits the last one's size.
    """

    scales: tuple[float, ...] | None = None
    ensemble: bool = False
    part: tuple[int, ...] = ()
    weights: Path | None = None
    seed: int = 0
    curve: bool = False
    box: tuple[int, ...] | None = None
    samples: int = 20
    tune: int = 0
    features: Literal["vgg16", "alexnet", "cifar_classifier", "inception"] = "vgg16"
    conditions: int | None = None


Measure = Callable[[Images], Iterator[dict]]


def measure_by(kind: str, run: str, model: Model | None, asked: Asked, recipe: Recipe | None) -> Measure:
    """The protocol called `kind` (`Recipe.measures`): pictures → rows. `model` None: the baseline called `run`."""
    match kind:
        case "super_resolution":
            enlarge = sr.bicubic if model is None else lambda x, size: model(x.to(device_of(model)), size).cpu()
            return partial(sr.measure, sr.ensemble(enlarge) if asked.ensemble else enlarge, scales=asked.scales or sr.SCALES)
        case "fill":
            if model is None:
                return partial(filling.measure, filling.CLASSICAL[run])
            assert isinstance(model, FunctionalImage)
            return partial(filling.measure, partial(_fill, model))
        case "faces":
            assert isinstance(model, Reversible)
            return partial(_faces, model, asked)
        case "digits":
            assert isinstance(model, Reversible)
            return partial(_digits, model, asked)
        case "classes":
            assert model is not None
            return lambda images: iter([generation.accuracy(lambda x: model(x.to(device_of(model))), _labelled(images))])
        case "restoration":
            assert model is None or isinstance(model, Tower)
            return partial(_restoration, model, as_given(run) if recipe is None else recipe.task, asked)
        case "points":
            assert isinstance(model, FunctionalPoints) and recipe is not None
            objective = recipe.stages[0].objective
            return partial(_points, model, objective.sigma if isinstance(objective, FunctionalPointsObjectiveConfig) else 0.05)
        case "blends":
            assert isinstance(model, FunctionalImage)
            return partial(_blends, model, asked)
        case "density":
            assert isinstance(model, CoverageQuality)
            return partial(_density, model, asked)
        case "internal":
            assert model is None or isinstance(model, MetaInternal)
            return partial(_internal, model, asked)
    raise UserError(f"nothing measures '{kind}'")


def _fill(model: FunctionalImage, image: Tensor, known: Tensor) -> Tensor:
    """As a user gets it, by tiles."""
    return fill_picture(Picture(image), known, model).pixels


def _faces(model: Reversible, asked: Asked, images: Images) -> Iterator[dict]:
    """Exactness, what the prior's dimensions keep, and how far samples are from held-out faces."""
    enough = len(images) > generation.NEIGHBOURS
    device = device_of(model)
    features = load_features(FACES, asked.weights, device) if enough else None
    full, restricted = (lambda x: model.decode(model.encode(x.to(device))).cpu()), (lambda x: model(x.to(device)).cpu())
    yield from generation.reconstruction(images, full, restricted)
    if features is None:
        log.warning("distances of sets are left out: they need more than %d pictures, got %d", generation.NEIGHBOURS, len(images))
        return
    generator = torch.Generator().manual_seed(asked.seed)

    def draw(density: Density, count: int) -> Tensor:
        return model.sample(count, generator, density).cpu()

    densities = DENSITIES if model.fitted and not asked.curve else ("prior",)
    draws = {f"samples ({d})": partial(draw, d) for d in densities}
    yield from generation.distances(generation.batches(images), draws, features, FACES)


def _digits(model: Reversible, asked: Asked, images: Images) -> Iterator[dict]:
    """Used dimensions, how many samples are recognised, and their distance in the classifier's features."""
    assert isinstance(model.config.prior, ClassNormals)
    judge = placed(load(JUDGE))
    device, generator = device_of(model), torch.Generator().manual_seed(asked.seed)
    used = model.used().sum(1).tolist()
    protocol = f"dimensions whose learned deviation exceeds the perturbation's ({model.config.prior.epsilon:g})"
    for label, count in enumerate(used):
        yield {"ask": f"class {label}", "measure": "used_dimensions", "value": count, "images": len(images), "protocol": protocol}
    draw = lambda label: model.sample(len(label), generator, label=label).cpu()  # noqa: E731
    yield from generation.recognised(lambda x: judge(x.to(device)), draw, model.config.prior.classes, EACH, JUDGE)
    count = iter(range(10**9))
    some = lambda n: draw(torch.tensor([next(count) % model.config.prior.classes for _ in range(n)]))  # noqa: E731
    features = lambda x: judge.features(x[:, :1].to(device)).cpu()  # noqa: E731
    yield from generation.distances(generation.batches(images), {"samples": some}, features, JUDGE)


def as_given(run: str) -> Task | None:
    """The task whose condition is the answer of the baseline called `run`; jpeg_10 is `jpeg` at quality 10, grey_32 `grey` at 32 pixels."""
    kind, _, number = run.partition("_")
    if kind not in ("jpeg", "grey") or not number.isdecimal():
        return AS_GIVEN.get(run)
    try:
        return Decompression(quality=int(number)) if kind == "jpeg" else Colorization(edge=int(number))
    except ValueError as error:
        raise UserError(f"{run}: {error}") from None


def _answers_distance(asked: Asked) -> Perceptual:
    if asked.features == "inception":
        raise UserError("--features inception is for densities; answers are compared by vgg16, alexnet or cifar_classifier")
    if asked.features in ("vgg16", "alexnet"):
        try:
            return lpips(asked.features, asked.weights)
        except UserError as error:
            raise UserError(f"{error}; or measure by the shipped --features cifar_classifier") from None
    distance = perceptual(asked.features)
    assert isinstance(distance, Perceptual)
    return distance


def _restoration(model: Tower | None, task: Task | None, asked: Asked, images: Images) -> Iterator[dict]:
    """Many answers to each picture's central square, or what its condition shows; and how far the first ones are from true pictures."""
    assert task is not None
    if isinstance(task, (Masking, Unconditional)):
        raise UserError(f"{task.kind} gives no condition that a tower answers to")
    check_pictures(task, images)
    device = torch.device("cpu") if model is None else device_of(model)
    distance = _answers_distance(asked).to(device)
    square = cut_square if isinstance(task, Layout) else fit_square  # label maps can't be resampled

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(len(images)):
            batch = task(square(from_uint8(images[i])[None], task.crop(torch.Generator())), torch.tensor([i]))
            assert batch.condition is not None
            yield batch.condition, batch.target

    first = next(pairs())[1]
    size = first.shape[-2], first.shape[-1]
    try:
        distance.embed(first.to(device))
    except ValueError as error:
        raise UserError(f"of {asked.features}: {error}; measure by --features vgg16 or cifar_classifier") from None
    generator = torch.Generator().manual_seed(asked.seed)

    def answer(condition: Tensor, count: int) -> Tensor:
        if model is None:
            shown = resize(condition, size) if isinstance(task, SuperResolution) else condition.expand(-1, 3, -1, -1)
            if isinstance(task, Colorization):
                shown = task.project(condition, shown)  # the grey of that lightness
            return shown.clamp(-1, 1).expand(count, -1, -1, -1)
        several = condition.expand(count, -1, -1, -1).to(device)
        return model(several, [c.to(several) for c in model.draw(count, size, generator)], size)[-1].cpu()

    details = ", ".join(f"{k} {v}" for k, v in asdict(task).items() if isinstance(v, (int, float)))
    compared = islice(pairs(), asked.conditions)
    yield from restoration.many_answers(compared, answer, task.residual, distance, ANSWERS, task.kind, asked.features, details)
    features = JUDGE if first.shape[1] == 1 else FACES if asked.features == "vgg16" else asked.features
    if features == "alexnet" or len(images) <= generation.NEIGHBOURS:
        wanted = "--features vgg16 or cifar_classifier" if features == "alexnet" else f"more than {generation.NEIGHBOURS} pictures"
        log.warning("distances of sets are left out: they need %s", wanted)
        return
    conditions = pairs()
    draws: dict[str, generation.Draw] = {task.kind: lambda count: torch.cat([answer(next(conditions)[0], 1) for _ in range(count)])}
    yield from generation.distances((x for _, x in pairs()), draws, load_features(features, asked.weights, device), features)


def _internal(model: MetaInternal | None, asked: Asked, images: Images) -> Iterator[dict]:
    """Samples of each picture's own model, which is the feed-forward one for pictures that were not trained on; None = of its patches."""
    maps, distance = load_maps(PLACES, asked.weights), lpips("vgg16", asked.weights)
    generator = torch.Generator().manual_seed(asked.seed)
    seconds: list[float] = []
    for i in range(len(images)):
        picture = from_uint8(images[i])[None]
        if model is None:
            patches.check(picture, images.names[i])
        else:
            own.check_picture(picture, model.edges[0], images.names[i])
        internal.check(picture, images.names[i])

    def vary(picture: Tensor, samples: int) -> Iterator[Tensor]:
        size = picture.shape[-2], picture.shape[-1]
        if model is None:
            return patches.variations(picture, None, samples, generator)[1]
        weights = own.weights_of(model, picture)
        if asked.tune:
            start = perf_counter()
            weights = own.tuned(model, weights, picture, asked.tune, generator)
            seconds.append(perf_counter() - start)
        return own.variations(model, weights, size, samples, generator)

    pictures, ask = (from_uint8(images[i])[None] for i in range(len(images))), "own patches" + f", tuned {asked.tune}" * bool(asked.tune)
    yield from internal.measure(pictures, vary, maps, PLACES, distance, asked.samples, ask)
    if seconds:
        row = {"measure": "tuning_seconds", "value": mean(seconds), "images": len(seconds)}
        yield {"ask": ask, **row, "protocol": f"wall clock of {asked.tune} steps, mean over pictures"}


def _blends(model: FunctionalImage, asked: Asked, images: Images) -> Iterator[dict]:
    """Reconstruction, and how far pictures halfway between two are from true ones: blended weights, layers, pixels."""
    device, field = device_of(model), model.config.field
    assert isinstance(field, WholeNetworks)
    if asked.features not in BLENDS:
        raise UserError(f"--features {asked.features} is not for blends; take {' or '.join(BLENDS)}")
    names, size, layers = BLENDS[asked.features], (field.edge, field.edge), len(field.target) + 1
    again = lambda x: model(x.to(device), size).cpu()  # noqa: E731
    seen = load_layers(names, asked.weights, device) if len(images) > generation.NEIGHBOURS else None  # first, for it may be missing
    yield generation.likeness(images, again, "function", f"of the function at {field.edge}×{field.edge}")
    if seen is None:
        return
    pictures = torch.cat(list(generation.batches(images)))
    generator = torch.Generator().manual_seed(asked.seed)
    pairings = [torch.randperm(len(pictures), generator=generator) for _ in range(PAIRINGS)]
    asks: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "pixels": lambda a, b: (a + b) / 2,
        "pixels of the functions": lambda a, b: (again(a).clamp(-1, 1) + again(b).clamp(-1, 1)) / 2,
    }

    def blend(a: Tensor, b: Tensor, count: int | None, path: Literal["line", "arc"] = "line") -> Tensor:
        theta = model.between(model.weights(a.to(device)), model.weights(b.to(device)), 0.5, count, path)
        return model.render(theta, size).clamp(-1, 1).cpu()

    if isinstance(model.paint, WholePaint) and model.paint.fitted:
        asks["weights on an arc"] = lambda a, b: blend(a, b, None, "arc")
    else:
        log.warning("blends on arcs are left out: this model does not know the mean of its images' weights")
    asks |= {"weights": lambda a, b: blend(a, b, None), "no blend": lambda a, b: again(a).clamp(-1, 1)}
    asks |= {f"first {k} layers": lambda a, b, k=k: blend(a, b, k) for k in range(1, layers)}
    draws: dict[str, generation.Draw] = {}
    for (name, mix), (i, other) in product(asks.items(), enumerate(pairings, 1)):
        if i > 1 and name == "no blend":
            continue
        place = iter(range(len(pictures)))

        def draw(count: int, mix=mix, place=place, other=other) -> Tensor:
            some = torch.tensor([next(place) for _ in range(count)])
            return mix(pictures[some], pictures[other[some]])

        draws[name + f", pairs {i}" * (i > 1)] = torch.no_grad()(draw)
    yield from generation.distances(pictures.split(generation.BATCH), draws, seen, *names)


def _points(model: FunctionalPoints, sigma: float, images: Images) -> Iterator[dict]:
    """Cross-entropy of unseen sets, by 1000 points of the curve in order."""
    grid, circle = model.config.grid, model.circle(1000)
    batches = list(generation.batches(images))
    if black := sum(int((x <= -1).flatten(1).all(1).sum()) for x in batches):
        raise UserError(f"{black} of {len(images)} pictures are black, which is no distribution; leave them out")
    seen = iter(batches)

    def draw(points: Tensor, shares: Tensor) -> Tensor:
        density_ = resampled((next(seen) + 1) / 2, grid).to(device_of(model))
        return model(density_, len(circle)).cpu()

    yield from point_sets.measure(map(pixel_points, batches), draw, circle, sigma)


def _density(model: CoverageQuality, asked: Asked, images: Images) -> Iterator[dict]:
    """Bits per dimension, and as many samples as there are pictures, seen by `_judge`.

    Drawn are "samples" of p(x), and "means": f⁻¹(μ(z)), without the noise of p(x | z), as a GAN's own pictures are.
    """
    judge = _judge(model, asked) if len(images) > generation.NEIGHBOURS else None  # before anything is measured: weights may be missing
    device, generator = device_of(model), torch.Generator().manual_seed(asked.seed)
    weigh = lambda x, noise: model.log_weights(x.to(device), noise.to(device)).cpu()  # noqa: E731
    yield from density.measure(generation.batches(images), weigh, model.config.latent, model.dims(), asked.samples, generator)

    @torch.no_grad()
    def draw(count: int, noisy: bool = True) -> Tensor:
        z, noise = torch.randn(count, model.config.latent, generator=generator), torch.randn(count, *model.shape, generator=generator)
        return quantized(model.sample(z.to(device), noise.to(device) if noisy else None)).cpu()

    draws: dict[str, generation.Draw] = {"samples": draw, "means": lambda count: draw(count, noisy=False)}
    if judge is None:
        log.warning("samples are not judged by %d pictures; give more than %d", len(images), generation.NEIGHBOURS)
        return
    name, features, logits = judge
    if logits is not None:
        yield from generation.scores(logits, draws, len(images), name)
    yield from generation.distances(generation.batches(images), draws, features, name)


def _judge(model: CoverageQuality, asked: Asked) -> tuple[str, Features, Features | None]:
    """Who looks at samples, the features it sees, and its logits: Inception or our classifier of photographs if the user says so;
    else of 32×32 digits our own classifier, of photographs CIFAR-10's ResNet-20; of other sizes VGG16, which names no classes."""
    size, channels, device = model.config.size, model.config.channels, device_of(model)
    which = asked.features
    if which == "alexnet":
        raise UserError("--features alexnet is for answers and blends; a density has vgg16, inception or cifar_classifier")
    if which == "vgg16" and size == 32:
        which = JUDGE if channels == 1 else "resnet20"
    if which in ("inception", "resnet20"):
        try:
            network = load_classic(which, asked.weights)
        except UserError as error:
            ours = "; or take --features cifar_classifier, which needs no such weights" if (size, channels) == (32, 3) else ""
            raise UserError(f"{error}{ours}") from None
        assert isinstance(network, (FIDInception, CIFARResNet20))
        colour = lambda x: x.expand(-1, 3, -1, -1)  # noqa: E731
        return which, lambda x: network(colour(x)), lambda x: network.logits(colour(x))
    if which == "vgg16":
        return FACES, load_features(FACES, asked.weights, device), None
    judge = placed(load(which))
    if (judge.config.channels, judge.config.size) != (channels, size):
        edge, here = judge.config.size, f"the {size}×{size} of {channels} here"
        raise UserError(f"{which} judges {edge}×{edge} pixels in colour, not {here}; take vgg16, with its weights")
    return which, lambda x: judge.features(x[:, :channels].to(device)).cpu(), lambda x: judge(x[:, :channels].to(device)).cpu()


def _labelled(images: Images) -> Images:
    if images.labels is None:
        raise UserError("accuracy needs classes: give an npz with x… and y… arrays, such as mnist.npz#x_test")
    return images
