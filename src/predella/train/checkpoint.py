"""Training state as one safetensors file, replaced atomically: a kill at any instant leaves the previous one whole."""

import json
import shlex
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from predella.atomic import atomic_write
from predella.errors import UserError

STATE = "state/latest.safetensors"


def save_state(folder: Path, tensors: dict[str, Tensor], numbers: dict) -> None:
    """Write tensors and plain JSON `numbers` to folder/state/latest.safetensors."""
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"numbers": json.dumps(numbers)})
    with atomic_write(folder / STATE) as stream:
        stream.write(data)


def unfinished(folder: Path) -> str | None:
    """How far a run that has not ended has come, and how it goes on; None = it has ended, or is no run that can be read."""
    try:
        recipe = json.loads((folder / "recipe.json").read_text())
        steps, whole = _numbers(folder)["step"], sum(stage["steps"] for stage in recipe["stages"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return None if steps >= whole else f"{folder} is unfinished, at step {steps} of {whole}; if it is not running, {goes_on(folder)}"


def goes_on(folder: Path) -> str:
    """The command by which a run goes on as it was begun."""
    return f"predella train {shlex.quote(str(folder / 'recipe.json'))} --resume --out {shlex.quote(str(folder))} goes on"


def _numbers(folder: Path) -> dict:
    with safe_open(folder / STATE, "pt") as opened:
        return json.loads(opened.metadata()["numbers"])


def load_numbers(folder: Path) -> dict:
    """The numbers that `save_state` wrote, without the tensors.

    Raises:
        UserError: see `load_state`.
    """
    file = folder / STATE
    if not file.exists():
        raise UserError(f"{folder} has no {STATE} to resume from; start without --resume")
    try:
        return _numbers(folder)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} can't be read ({error}); start again without --resume, in another folder") from None


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """What `save_state` wrote.

    Raises:
        UserError: no state there, or a file that can't be read.
    """
    numbers = load_numbers(folder)
    with safe_open(folder / STATE, "pt") as opened:
        return {k: opened.get_tensor(k) for k in opened.keys()}, numbers


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names with `prefix/` before them."""
    return {f"{prefix}/{k}": v for k, v in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix/`, without it."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{prefix}/")}
