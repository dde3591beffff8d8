"""Metrics of two sets of images by name: statistic, features, and how many images, all in the name of the result."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from predella.errors import UserError, did_you_mean
from predella.metrics.coverage import precision_recall
from predella.metrics.features import FEATURES, load_features
from predella.metrics.frechet import frechet_distance
from predella.metrics.kernel import kernel_distance

Statistic = Callable[[Tensor, Tensor], float]  # real (N, D), generated (M, D)
STATISTICS: dict[str, Statistic] = {
    "fd": frechet_distance,
    "kd": lambda real, generated: kernel_distance(real, generated)[0],
    "precision": lambda real, generated: precision_recall(real, generated)[0],
    "recall": lambda real, generated: precision_recall(real, generated)[1],
}
SHORT = {"fid": ("fd", "inception"), "kid": ("kd", "inception")}  # these names mean the Inception network and nothing else
NAMES = (*SHORT, *(f"{s}_{f}" for s in STATISTICS for f in FEATURES if f != "inception"))


def parse(name: str) -> tuple[str, str]:
    """(statistic, features) of a metric's name.

    Raises:
        UserError: unknown name, with the nearest.
    """
    if name in SHORT:
        return SHORT[name]
    statistic, _, features = name.partition("_")
    if statistic not in STATISTICS or features not in FEATURES:
        raise UserError(f"no metric of sets is called '{name}'{did_you_mean(name, NAMES)}")
    return statistic, features


def measure_sets(names: list[str], real: Callable[[str], Tensor], generated: Callable[[str], Tensor]) -> dict[str, float]:
    """Values by full name, such as `fd_vgg16_relu4_3_1k`.

    Args:
        names: see NAMES.
        real, generated: features' name → (N, D), (M, D); asked once a network.

    Raises:
        UserError: unknown names, or too few images for a statistic.
    """
    asked = {name: parse(name) for name in names}
    sets = {features: (real(features), generated(features)) for features in {f for _, f in asked.values()}}
    out = {}
    for name, (statistic, features) in asked.items():
        a, b = sets[features]
        try:
            out[f"{name}_{count_name(min(len(a), len(b)))}"] = STATISTICS[statistic](a, b)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
    return out


def count_name(count: int) -> str:
    """1000 → "1k", 950 → "950"."""
    return f"{count // 1000}k" if count % 1000 == 0 and count else str(count)


def extractor(weights: Path | None) -> Callable[[str], Callable[[Tensor], Tensor]]:
    """Features by name, each network loaded once."""
    loaded: dict[str, Callable[[Tensor], Tensor]] = {}

    def get(name: str) -> Callable[[Tensor], Tensor]:
        if name not in loaded:
            loaded[name] = load_features(name, weights)
        return loaded[name]

    return get
