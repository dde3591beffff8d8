"""Recipes: one run each. `RECIPES` is the explicit list."""

from collections.abc import Callable

from predella.errors import UserError, did_you_mean
from predella.recipe import Recipe
from predella.recipes import (
    cifar_classifier,
    coverage_quality,
    functional_digits,
    functional_faces,
    functional_fill,
    functional_sr,
    functional_sr_paper,
    meta_internal,
    mnist_classifier,
    reversible_faces,
    reversible_faces_paper,
    reversible_mnist_ot,
    tower,
    tower_variants,
)

MODULES = (
    functional_sr,
    functional_sr_paper,
    functional_fill,
    functional_faces,
    functional_digits,
    reversible_faces,
    reversible_faces_paper,
    reversible_mnist_ot,
    tower,
    tower_variants,
    meta_internal,
    coverage_quality,
    mnist_classifier,
    cifar_classifier,
)
RECIPES: dict[str, Callable[..., Recipe]] = {name: recipe for module in MODULES for name, recipe in module.RECIPES.items()}


def find_recipe(name: str) -> Callable[..., Recipe]:
    """The recipe function called `name`; it takes `smoke`.

    Raises:
        UserError: unknown name, with the nearest.
    """
    if name not in RECIPES:
        raise UserError(f"no recipe is called '{name}'{did_you_mean(name, RECIPES, 'predella list recipes')}")
    return RECIPES[name]
