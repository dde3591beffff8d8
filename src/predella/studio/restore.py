"""Many answers to one picture: `predella restore`."""

from collections.abc import Mapping

import gradio as gr

from predella.studio.line import OUT, Lines, named, number
from predella.studio.parts import gallery, picture, runs, seed

TASKS = {
    "Colours of a grey photo": "colorization",
    "A JPEG that was compressed too far": "decompression",
    "A face, 16 times as large": "super_resolution",
    "A photo of a facade's label map": "layout",
    "A digit from its ten components": "pca",
}
EXAMPLES = ("grey", "ruined", "few", "facade", "digit")  # one a task


def asked(
    lines: Lines, task: str, file: str | None, count: float, exact: bool, start: float | None, shrink: bool, box: str | None, invert: bool
):
    """Words and files of the line."""
    given = named(file)
    words = ["restore", TASKS[task], *given, "--answers", number(count, "answers"), "--seed", number(start, "the seed"), "--out", OUT]
    flags = [word for word, on in (("--exact", exact), ("--shrink", shrink), ("--invert", invert)) if on]
    return [*words, *flags, *(["--box", box.replace(" ", "")] if box and box.strip() else [])], given


def tab(lines: Lines, examples: Mapping[str, str]) -> None:
    """The tab's components."""
    with gr.Row():
        with gr.Column():
            task = gr.Dropdown(list(TASKS), label="What", value=next(iter(TASKS)), allow_custom_value=False)
            image = picture("Picture")
            gr.Examples([[name, examples[e]] for name, e in zip(TASKS, EXAMPLES)], [task, image], label="To begin with")
            count = gr.Slider(1, 24, 6, step=1, label="Answers")
            exact = gr.Checkbox(label="Exact", info="keep the input's own data: lightness, small picture, JPEG coefficients, components")
            with gr.Accordion("More", open=False):
                start = seed()
                shrink = gr.Checkbox(label="Shrink", info="faces: the picture is large; make it 4×4 first, and show it at the end")
                box = gr.Textbox(label="Box", placeholder="left,top,right,bottom", info="faces: where it is, framed as CelebA's")
                invert = gr.Checkbox(label="Invert", info="digits: ink is dark on bright")
        with gr.Column(scale=2):
            answers = gallery("The sheet (the input, the answers, where they differ), then each answer")
            inputs = [task, image, count, exact, start, shrink, box, invert]
            runs(lines, "Answer", lambda *v: asked(lines, *v), inputs, answers, lambda files, _: files, "restore")
