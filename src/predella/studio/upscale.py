"""A photo, enlarged: `predella upscale`."""

from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from predella.studio.line import OUT, Lines, named
from predella.studio.parts import picture, runs

MODELS = {"Photos": "functional_sr", "Faces, as CelebA frames them (64 pixels are seen)": "functional_faces_places"}


def asked(lines: Lines, file: str | None, scale: float, model: str, ensemble: bool):
    """Words and files of the line."""
    given = named(file)
    words = [
        "upscale",
        *given,
        "--scale",
        f"{scale:g}",
        "--model",
        lines.model(MODELS.get(model, model)),
        "--out",
        f"{OUT}/{Path(*given).stem}-enlarged.png",
    ]
    return [*words, *["--ensemble"] * ensemble], given


def tab(lines: Lines, examples: Mapping[str, str]) -> None:
    """The tab's components."""
    with gr.Row():
        with gr.Column():
            image = picture("Photo")
            gr.Examples([examples["cat"]], image, label="To begin with")
            scale = gr.Slider(1, 8, 3, step=0.1, label="Scale")
            choices = list(MODELS)
            model = gr.Dropdown(choices, value=choices[0], label="Model", info="or the folder of a run", allow_custom_value=True)
            ensemble = gr.Checkbox(label="Mean over four rotations", info="four times the work, a little better")
        with gr.Column(scale=2):
            both = gr.ImageSlider(label="The photo as it is | enlarged", type="filepath", image_mode=None, format="png", interactive=False)
            runs(
                lines, "Enlarge", lambda *v: asked(lines, *v), [image, scale, model, ensemble], both,
                lambda files, values: (values[0], str(files[0])), "upscale",
            )  # fmt: skip
