"""Many answers to one picture: `predella restore`."""

from collections.abc import Mapping

import gradio as gr

from predella.studio.line import OUT, Lines, named, number, option
from predella.studio.parts import LineButton, captioned, examples, gallery, picture, seed

TASKS = {
    "Colours of a grey photo": "colorization",
    "A JPEG that was compressed too far (quality about 5)": "decompression",
    "A face, from 4×4 pixels to 64×64": "super_resolution",
    "A facade, from a drawing of its parts": "layout",
    "A handwritten digit, from ten numbers": "pca",
}
EXAMPLES = ("grey", "ruined", "few", "facade", "digit")  # one a task
ONLY = {"--exact": {"colorization", "decompression", "super_resolution", "pca"}, "--shrink": {"super_resolution"}, "--invert": {"pca"}}


def asked(lines: Lines, task: str, file: str | None, count: float, exact: bool, start: float | None, shrink: bool, box: str | None,
          invert: bool):  # fmt: skip
    """Words and files of the line; what is not for the task is left out, as the tab does not show it."""
    given, kind = named(file), TASKS[task]
    flags = [flag for flag, on in (("--exact", exact), ("--shrink", shrink), ("--invert", invert)) if on and kind in ONLY[flag]]
    part = option("--box", box) if "--shrink" in flags else []
    words = ["restore", kind, *given, "--answers", number(count, "answers"), "--seed", number(start, "the seed"), "--out", OUT]
    return [*words, *flags, *part], given


def _for(task: str) -> list:
    """Which options are shown."""
    kind = TASKS[task]
    return [gr.update(visible=kind in ONLY[flag]) for flag in ("--exact", "--shrink", "--shrink", "--invert")]


def tab(lines: Lines, files: Mapping[str, str]) -> None:
    """The tab's components; `files`: of the examples."""
    gr.Markdown("One picture in, several plausible ones out, and where they differ.")
    with gr.Row():
        with gr.Column():
            task = gr.Dropdown(list(TASKS), label="Task", value=next(iter(TASKS)), allow_custom_value=False)
            image = picture("Picture")
            count = gr.Slider(1, 24, 6, step=1, label="Answers")
            exact = gr.Checkbox(
                label="Exact", info="keep exactly what the picture says: lightness, small picture, JPEG coefficients, numbers"
            )
            shrink = gr.Checkbox(True, label="Make small first", visible=False, info="a larger face is made 4×4 first, and shown beside")
            box = gr.Textbox(label="Where the face is", placeholder="left,top,right,bottom", visible=False, info="framed as CelebA's")
            invert = gr.Checkbox(label="Dark ink on bright paper", visible=False)
            button = LineButton("Answer")
            with gr.Accordion("More", open=False):
                start = seed()
            examples([[name, files[e]] for name, e in zip(TASKS, EXAMPLES)], [task, image])
        with gr.Column(scale=2):
            answers = gallery("The sheet, then each answer")
            inputs = [task, image, count, exact, start, shrink, box, invert]
            button.runs(lines, lambda *v: asked(lines, *v), inputs, answers, lambda made, _: captioned(made), "restore")
    task.change(_for, task, [exact, shrink, box, invert], api_visibility="private")
