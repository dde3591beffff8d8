"""What every tab has: a button that runs a line, one that stops it, and a box for what the line says."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from predella.errors import UserError
from predella.studio.line import AWAKE, Lines

Asked = Callable[..., tuple[Sequence[str], Mapping[str, Path]]]


class LineButton:
    """A button `label`, beside one that stops what it began."""

    def __init__(self, label: str):
        self.label = label
        with gr.Row():
            self.start, self.stop = gr.Button(label, variant="primary"), gr.Button("Stop", scale=0, min_width=100)

    def runs(self, lines: Lines, asked: Asked, inputs: list, shown, show: Callable[[list[Path], Sequence[Any]], Any], name: str) -> None:
        """Wire it, and put what is said below.

        Args:
            asked: of the inputs' values: (words, files) of the line.
            inputs: components.
            shown: the component of the answers.
            show: (files, the inputs' values) → its value.
            name: of the line's endpoint, for programs.
        """
        said = gr.Textbox(label="Command line and messages", lines=4, interactive=False, elem_classes="said", buttons=["copy"])

        def run(*values) -> Iterator[tuple[Any, str, Any]]:
            so_far, busy = ("", list[Path]()), gr.Button(f"{self.label}: running", interactive=False)
            try:
                for so_far in lines.run(*asked(*values)):
                    yield gr.skip(), so_far[0], busy
                yield show(so_far[1], values) if so_far[1] else None, so_far[0], self._idle()
            except UserError as error:
                gr.Warning(str(error), duration=8)
                yield None, "\n".join([*so_far[0].splitlines()[:1], f"Not done: {error}"]), self._idle()

        event = self.start.click(
            run, inputs, [shown, said, self.start], api_name=name, concurrency_id="lines", concurrency_limit=1, show_progress_on=said
        )
        self.stop.click(self._stopped, None, [said, self.start], cancels=[event], api_visibility="private")

    def _stopped(self) -> tuple[str, gr.Button]:
        time.sleep(2 * AWAKE)  # what the line said last may still be on its way to the browser, and would stand over this
        return "Stopped; nothing was made.", self._idle()

    def _idle(self) -> gr.Button:
        return gr.Button(self.label, interactive=True)


def picture(label: str) -> gr.Image:
    """A picture that is chosen, as the file that it is: a JPEG's own bytes matter, and what is no picture is told by the line."""
    shows = gr.Image(label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=280)
    shows.preprocess = lambda payload: payload.path if payload else None
    return shows


def gallery(label: str, columns: int = 4) -> gr.Gallery:
    """Files to look at and to fetch."""
    return gr.Gallery(
        label=label, columns=columns, object_fit="contain", height="auto", format="png",
        buttons=["download", "download_all", "fullscreen"],
    )  # fmt: skip


def captioned(files: list[Path]) -> list[tuple[str, str]]:
    """Of a gallery: each file, and its name."""
    return [(str(f), f.stem) for f in files]


def whole(label: str) -> gr.Image:
    """One file to look at and to fetch."""
    return gr.Image(label=label, type="filepath", image_mode=None, format="png", interactive=False)


def examples(rows: list, inputs: Any) -> None:
    """What to begin with."""
    gr.Examples(rows, inputs, label="Examples")


def seed() -> gr.Number:
    """What draws are made with."""
    return gr.Number(0, label="Seed", precision=0, minimum=0, info="the same seed gives the same answers")
