"""Pictures inside the wheels of scikit-image and scikit-learn: nothing is downloaded."""

from collections.abc import Callable, Iterator

import numpy as np


def photos() -> Iterator[tuple[str, np.ndarray]]:
    """(name, uint8 (H, W) or (H, W, 3)) of each photograph."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    for name in ("astronaut", "camera", "chelsea", "coffee", "grass", "gravel", "brick", "hubble_deep_field", "rocket"):
        yield name, getattr(data, name)()
    for name in ("china.jpg", "flower.jpg"):
        yield name.removesuffix(".jpg"), load_sample_image(name)


def digits() -> Iterator[tuple[str, np.ndarray]]:
    """1 797 handwritten digits of 8×8 pixels, as uint8 (8, 8)."""
    from sklearn.datasets import load_digits

    for i, image in enumerate(load_digits().images):
        yield f"digit-{i}", np.round(image * (255 / 16)).astype(np.uint8)


BUILTIN: dict[str, Callable[[], Iterator[tuple[str, np.ndarray]]]] = {"photos": photos, "digits": digits}
