"""Pictures inside the wheels of scikit-image and scikit-learn: nothing is downloaded."""

from collections.abc import Callable, Iterator

import numpy as np

Item = tuple[str, np.ndarray, int | None]  # name, uint8 (H, W) or (H, W, 3), class


def photos() -> Iterator[Item]:
    """Photographs, without classes."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    for name in ("astronaut", "camera", "chelsea", "coffee", "grass", "gravel", "brick", "hubble_deep_field", "rocket"):
        yield name, getattr(data, name)(), None
    for name in ("china.jpg", "flower.jpg"):
        yield name.removesuffix(".jpg"), load_sample_image(name), None


def digits() -> Iterator[Item]:
    """1 797 handwritten digits of 8×8 pixels, with their classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for i, (image, label) in enumerate(zip(found.images, found.target)):
        yield f"digit-{i}", np.round(image * (255 / 16)).astype(np.uint8), int(label)


BUILTIN: dict[str, Callable[[], Iterator[Item]]] = {"photos": photos, "digits": digits}
