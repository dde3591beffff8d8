"""Pictures drawn from a trained model: `predella sample`."""

from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from predella.studio.line import OUT, Lines, number
from predella.studio.parts import LineButton, seed, whole

NAMES = {  # what it draws → the shipped model
    "Faces (reversible network)": "reversible_faces",
    "Digits (reversible network)": "reversible_mnist_ot",
    "Digits (coverage, quality and flow)": "cq_mnist_cqf",
    "Digits (coverage and quality)": "cq_mnist_cq",
    "Digits (VAE and flow)": "cq_mnist_vaef",
    "Digits (VAE)": "cq_mnist_vae",
    "Digits (GAN)": "cq_mnist_gan",
    "Small photos (coverage, quality and flow)": "cq_cifar_cqf",
}


def asked(lines: Lines, model: str | None, count: float, zoom: float, start: float | None):
    """Words and files of the line."""
    numbers = ("--count", number(count, "samples"), "--zoom", number(zoom, "zoom"), "--seed", number(start, "the seed"))
    return ["sample", NAMES.get(model or "") or lines.model(model), *numbers, "--out", f"{OUT}/samples.png"], dict[str, Path]()


def tab(lines: Lines, files: Mapping[str, str]) -> None:
    """The tab's components; `files`: of the examples, of which it needs none."""
    gr.Markdown("Pictures of nothing but chance.")
    with gr.Row():
        with gr.Column():
            model = gr.Dropdown(list(NAMES), value=next(iter(NAMES)), label="Model", info="or the folder of a run", allow_custom_value=True)
            count = gr.Slider(1, 100, 36, step=1, label="Samples")
            zoom = gr.Slider(1, 8, 3, step=1, label="Zoom", info="of each pixel, to look at")
            button = LineButton("Draw")
            with gr.Accordion("More", open=False):
                start = seed()
        with gr.Column(scale=2):
            sheet = whole("Samples")
            button.runs(lines, lambda *v: asked(lines, *v), [model, count, zoom, start], sheet, lambda made, _: str(made[0]), "sample")
