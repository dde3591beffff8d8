"""New pictures of one picture's own patches: `predella vary`."""

from collections.abc import Mapping

import gradio as gr

from predella.studio.line import OUT, Lines, named, number, option
from predella.studio.parts import LineButton, captioned, examples, gallery, picture, seed

HOW = {
    "The shipped model of landscapes, tuned to the picture (half a minute)": ["--model", "meta_internal_photos"],
    "Nearest patches, no network (a minute)": ["--method", "patch"],
    "A network of this picture, trained now (ten minutes)": [],
}


def asked(lines: Lines, file: str | None, how: str, count: float, size: str | None, tune: float, start: float | None):
    """Words and files of the line."""
    given = named(file)
    words = ["vary", *given, "--count", number(count, "variations"), "--seed", number(start, "the seed"), "--out", OUT, *HOW[how]]
    tuned = ["--tune", number(tune, "steps of tuning")] if "--model" in words and tune else []
    return [*words, *tuned, *option("--size", size)], given


def tab(lines: Lines, files: Mapping[str, str]) -> None:
    """The tab's components; `files`: of the examples."""
    gr.Markdown("New pictures of a landscape's or a texture's own patches.")
    with gr.Row():
        with gr.Column():
            image = picture("Picture")
            how = gr.Radio(list(HOW), label="How", value=next(iter(HOW)))
            count = gr.Slider(1, 16, 4, step=1, label="Variations")
            button = LineButton("Vary")
            with gr.Accordion("More", open=False):
                size = gr.Textbox(
                    label="Size", placeholder="width×height", info="in pixels; none = the picture's aspect, as the model has it"
                )
                tune = gr.Slider(0, 300, 100, step=10, label="Steps of tuning", info="of the shipped model: 0 = one forward pass, rough")
                start = seed()
            examples([files["landscape"]], image)
        with gr.Column(scale=2):
            made = gallery("The sheet, then each variation")
            inputs = [image, how, count, size, tune, start]
            button.runs(lines, lambda *v: asked(lines, *v), inputs, made, lambda files, _: captioned(files), "vary")
