"""What every model can do: be saved to a folder and loaded from one, by name, checksum verified; no pickle."""

import hashlib
import importlib
import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

import predella
from predella.atomic import atomic_write, write_text
from predella.config import read_config
from predella.errors import UserError, did_you_mean

WEIGHTS, CONFIG = "model.safetensors", "config.json"
SCALE = "|scale"  # ends the name of what a tensor stored as whole numbers is to be multiplied by, row by row
PRETRAINED = Path(__file__).parent.parent / "pretrained"
# the stem of the file in this folder → the class; one line a paper
MODELS: dict[str, str] = {
    "functional_image": "FunctionalImage", "functional_points": "FunctionalPoints",
    "reversible": "Reversible", "tower": "Tower", "meta_internal": "MetaInternal",
    "coverage_quality": "CoverageQuality", "classifier": "Classifier",
}  # fmt: skip


class Model(nn.Module):
    """Abstract; every subclass is final. A model knows its mathematics and its config."""

    Config: ClassVar[type]
    name: ClassVar[str]
    verbs: tuple[str, ...]  # of the command line, that this model serves
    config: Any

    def check_verb(self, verb: str, who: str = "", instead: str = "") -> None:
        """Raise UserError if this model, which the user calls `who`, does not serve `verb`; the line says what it does, and what model
        does serve it, if `instead` names one."""
        if verb not in self.verbs:
            who = who or f"a model of kind {self.name}"
            other = f"; {instead} can {verb}" if instead else ""
            raise UserError(f"{who} can't {verb}; it can {', '.join(self.verbs) or 'only be measured with'}{other}")

    def save_pretrained(self, folder: Path | str, bits: Literal[8, 16, 32] = 32) -> None:
        """Write config.json, which holds the weights' checksum, and model.safetensors; a kill in between leaves a whole model.

        With fewer `bits`, matrices and kernels are stored in 16 (half precision) or 8 (whole numbers times a scale for each output);
        loading gives 32 bits again. While the weights are replaced, the config admits both the old and the new checksum.
        """
        folder = Path(folder)
        if bits not in (8, 16, 32):
            raise ValueError(f"bits must be 8, 16 or 32, got {bits}")
        large = {k for k, v in self.named_parameters() if v.ndim > 1}
        weights = save_tensors(_packed({k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}, large, bits))
        new = hashlib.sha256(weights).hexdigest()
        record = {"model": self.name, "predella": predella.__version__, "sha256": new, "config": asdict(self.config)}
        if (folder / WEIGHTS).exists():
            old = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
            write_text(folder / CONFIG, json.dumps({**record, "sha256_before": old}, indent=2) + "\n")
        else:
            write_text(folder / CONFIG, json.dumps(record, indent=2) + "\n")
        with atomic_write(folder / WEIGHTS) as stream:
            stream.write(weights)
        write_text(folder / CONFIG, json.dumps(record, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Load from a folder, a shipped name, or a hub repository.

        Raises:
            UserError: nothing there, weights missing or altered, or another kind of model.
        """
        model = load(source)
        if not isinstance(model, cls):
            raise UserError(f"{source} holds a model of kind {model.name}, not {cls.name}; name one of that kind")
        return model


def _packed(state: dict[str, Tensor], large: Collection[str], bits: int) -> dict[str, Tensor]:
    """The tensors named in `large` in so many bits."""
    if bits == 32:
        return state
    out = {k: v.half() if k in large else v for k, v in state.items()}
    for name in large if bits == 8 else ():
        rows = state[name].flatten(1)
        scale = (rows.abs().amax(1, keepdim=True) / 127).clamp_min(1e-12)
        out[name], out[name + SCALE] = (rows / scale).round().to(torch.int8).view_as(state[name]), scale.flatten()
    return out


def _unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they were before `_packed`, but for rounding."""
    scales = {k.removesuffix(SCALE): v for k, v in state.items() if k.endswith(SCALE)}
    out = {k: v for k, v in state.items() if not k.endswith(SCALE)}
    return out | {k: (out[k].flatten(1).to(v) * v[:, None]).view_as(out[k]) for k, v in scales.items()}


def model_class(name: str) -> type[Model]:
    """The class called `name` in MODELS.

    Raises:
        UserError: unknown name.
    """
    if name not in MODELS:
        raise UserError(f"no model is called '{name}'{did_you_mean(name, MODELS)}")
    return getattr(importlib.import_module(f"predella.models.{name}"), MODELS[name])


def list_pretrained() -> list[str]:
    """Names of the shipped models."""
    return sorted(p.parent.name for p in PRETRAINED.glob(f"*/{CONFIG}"))


def find_source(source: Path | str) -> Path:
    """The folder of a shipped name, a run folder, or a hub repository `owner/name` (fetched).

    Raises:
        UserError: nothing of that name.
    """
    folder = Path(source)
    if (PRETRAINED / str(source) / CONFIG).exists() and not (folder / CONFIG).exists():
        return PRETRAINED / str(source)
    if folder.is_file():
        if folder.name == WEIGHTS:
            return folder.parent
        raise UserError(f"{source} is a file, a folder with {CONFIG} and {WEIGHTS} is needed; no pickle (.pt, .pth, .ckpt) is read")
    if folder.is_dir():
        if not (folder / CONFIG).exists():
            raise UserError(f"{source} has no {CONFIG}; give a folder written by `predella train` or save_pretrained")
        return folder
    if str(source).count("/") == 1 and not str(source).startswith((".", "/", "runs/")):
        return _from_hub(str(source))
    raise UserError(f"no model is called '{source}', and no such folder exists{did_you_mean(str(source), list_pretrained())}")


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, "recipe.json", "*.md"]))
    except Exception as error:
        why = type(error).__name__
        raise UserError(f"{repository} is no folder here and could not be fetched from the hub ({why}); give a local folder") from None


def load(source: Path | str) -> Any:
    """A trained model, in evaluation mode, from a shipped name, a run folder or a hub repository.

    Raises:
        UserError: unknown name, or weights that are missing, altered (checksum) or don't fit the config.

    Example:
        >>> import predella
        >>> model = predella.load("functional_sr")  # doctest: +SKIP
    """
    folder = find_source(source)
    try:
        record = json.loads((folder / CONFIG).read_text())
        cls = model_class(record["model"])
        config = read_config(cls.Config, record["config"])
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} can't be read ({error}); restore it from the training run") from None
    file = folder / WEIGHTS
    if not file.exists():
        raise UserError(f"{file} is missing; restore it, or train again with --resume")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() not in (record.get("sha256"), record.get("sha256_before")):
        raise UserError(f"{file} was altered or cut short: its checksum is not the one in {CONFIG}; get the file again")
    model = cls(config)
    try:
        model.load_state_dict(_unpacked(load_tensors(data)))
    except (SafetensorError, RuntimeError, KeyError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{file} does not fit {CONFIG} ({line}); get both files from the same run") from None
    return model.eval()
