"""A photo, enlarged: `predella upscale`."""

from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from predella.studio.line import OUT, Lines, named
from predella.studio.parts import LineButton, examples, picture

MODELS = {"Photos": "functional_sr", "Faces, as CelebA frames them (64 pixels are seen)": "functional_faces_places"}


def asked(lines: Lines, file: str | None, scale: float, model: str | None, ensemble: bool):
    """Words and files of the line."""
    given = named(file)
    chosen = MODELS.get(model or "") or lines.model(model)
    words = ["upscale", *given, "--scale", f"{scale:g}", "--model", chosen, "--out", f"{OUT}/{Path(*given).stem}-enlarged.png"]
    return [*words, *["--ensemble"] * ensemble], given


def tab(lines: Lines, files: Mapping[str, str]) -> None:
    """The tab's components; `files`: of the examples."""
    gr.Markdown("A photo by any factor; drag the line between the two.")
    with gr.Row():
        with gr.Column():
            image = picture("Photo")
            scale = gr.Slider(1, 8, 3, step=0.1, label="Scale")
            button = LineButton("Enlarge")
            with gr.Accordion("More", open=False):
                choices = list(MODELS)
                model = gr.Dropdown(choices, value=choices[0], label="Model", info="or the folder of a run", allow_custom_value=True)
                ensemble = gr.Checkbox(label="Mean over four rotations", info="four times the work, a little better")
            examples([files["cat"]], image)
        with gr.Column(scale=2):
            both = gr.ImageSlider(label="As it is | enlarged", type="filepath", image_mode=None, format="png", interactive=False)
            inputs = [image, scale, model, ensemble]
            button.runs(lines, lambda *v: asked(lines, *v), inputs, both, lambda made, values: (values[0], str(made[0])), "upscale")
