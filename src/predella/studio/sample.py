"""Pictures drawn from a trained model: `predella sample`."""

import json
from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from predella.models.base import CONFIG, PRETRAINED, list_pretrained, model_class
from predella.studio.line import OUT, Lines, number
from predella.studio.parts import runs, seed, whole


def models() -> list[str]:
    """Names of the shipped models that can be drawn from; what a model serves by its config alone is no drawing."""
    kinds = {name: json.loads((PRETRAINED / name / CONFIG).read_text())["model"] for name in list_pretrained()}
    return [name for name, kind in kinds.items() if "sample" in getattr(model_class(kind), "verbs", ())]


def asked(lines: Lines, model: str | None, count: float, zoom: float, start: float | None):
    """Words and files of the line."""
    numbers = ("--count", number(count, "samples"), "--zoom", number(zoom, "zoom"), "--seed", number(start, "the seed"))
    return ["sample", lines.model(model), *numbers, "--out", f"{OUT}/samples.png"], dict[str, Path]()


def tab(lines: Lines, examples: Mapping[str, str]) -> None:
    """The tab's components."""
    with gr.Row():
        with gr.Column():
            shipped, first = models(), "reversible_faces"
            model = gr.Dropdown(shipped, value=first, label="Model", info="or the folder of a run", allow_custom_value=True)
            count = gr.Slider(1, 100, 36, step=1, label="Samples")
            zoom = gr.Slider(1, 8, 3, step=1, label="Zoom", info="of each pixel, to look at")
            start = seed()
        with gr.Column(scale=2):
            sheet = whole("Samples")
            runs(lines, "Draw", lambda *v: asked(lines, *v), [model, count, zoom, start], sheet, lambda files, _: str(files[0]), "sample")
