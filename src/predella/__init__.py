"""predella: image generation in which the network gives more than one answer.

>>> import predella
>>> predella.list_pretrained()  # doctest: +SKIP
['cifar_classifier', 'functional_fill', 'functional_sr', 'mnist_classifier', 'reversible_faces', 'reversible_mnist_ot',
 'tower_color', 'tower_jpeg', 'tower_mnist_pca']
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["FunctionalImage", "Reversible", "Tower", "UserError", "list_pretrained", "load"]

_PLACES = {
    "load": "predella.models.base",
    "list_pretrained": "predella.models.base",
    "FunctionalImage": "predella.models.functional_image",
    "Reversible": "predella.models.reversible",
    "Tower": "predella.models.tower",
    "UserError": "predella.errors",
}

if TYPE_CHECKING:
    from predella.errors import UserError
    from predella.models.base import list_pretrained, load
    from predella.models.functional_image import FunctionalImage
    from predella.models.reversible import Reversible
    from predella.models.tower import Tower


def __getattr__(name: str):
    """Import on first use, so that `predella --help` does not wait for torch."""
    if name in _PLACES:
        import importlib

        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'predella' has no attribute '{name}'")
