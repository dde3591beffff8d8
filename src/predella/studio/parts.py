"""What every tab has: a button that runs a line, one that stops it, and what the line says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from predella.errors import UserError
from predella.studio.line import Lines

Asked = Callable[..., tuple[Sequence[str], Mapping[str, Path]]]


def runs(lines: Lines, label: str, asked: Asked, inputs: list, shown, show: Callable[[list[Path], Sequence[Any]], Any], name: str) -> None:
    """A button `label`, one that stops, and a box of words, below one another.

    Args:
        asked: of the inputs' values: (words, files) of the line.
        inputs: components.
        shown: the component of the answers.
        show: (files, the inputs' values) → its value.
        name: of the line's endpoint, for programs.
    """

    def run(*values) -> Iterator[tuple[Any, str]]:
        try:
            for said, files in lines.run(*asked(*values)):
                yield show(files, values) if files else gr.skip(), said
        except UserError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None

    with gr.Row():
        button, stop = gr.Button(label, variant="primary"), gr.Button("Stop", scale=0)
    said = gr.Textbox(label="The line, and what it says", lines=4, interactive=False, elem_classes="said", buttons=["copy"])
    event = button.click(run, inputs, [shown, said], api_name=name, concurrency_id="lines", concurrency_limit=1)
    stop.click(lambda: None, cancels=[event], api_visibility="private")


def picture(label: str) -> gr.Image:
    """A picture that is handed in, as the file that it is: a JPEG's own bytes matter."""
    return gr.Image(label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=300)


def gallery(label: str, columns: int = 4) -> gr.Gallery:
    """Files to look at and to fetch."""
    return gr.Gallery(label=label, columns=columns, object_fit="contain", height="auto", format="png", buttons=["download", "fullscreen"])


def whole(label: str) -> gr.Image:
    """One file to look at and to fetch."""
    return gr.Image(label=label, type="filepath", image_mode=None, format="png", interactive=False)


def seed() -> gr.Number:
    """What draws are made with."""
    return gr.Number(0, label="Seed", precision=0, minimum=0, info="the same seed gives the same answers")
