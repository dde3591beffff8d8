"""Training state as one safetensors file, replaced atomically: a kill at any instant leaves the previous one whole."""

import json
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


def saved_at(folder: Path) -> dict | None:
    """The numbers of what `save_state` wrote; None = nothing that can be read."""
    try:
        with safe_open(folder / STATE, "pt") as opened:
            return json.loads(opened.metadata()["numbers"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """What `save_state` wrote.

    Raises:
        UserError: no state there, or a file that can't be read.
    """
    file = folder / STATE
    if not file.exists():
        raise UserError(f"{folder} has no {STATE} to resume from; start without --resume")
    try:
        with safe_open(file, "pt") as opened:
            numbers = json.loads(opened.metadata()["numbers"])
            return {k: opened.get_tensor(k) for k in opened.keys()}, numbers
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} can't be read ({error}); start again without --resume, in another folder") from None


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names with `prefix/` before them."""
    return {f"{prefix}/{k}": v for k, v in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix/`, without it."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{prefix}/")}
