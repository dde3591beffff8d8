"""The page and its server, on the loopback address alone: nothing of it leaves the machine."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from predella.errors import UserError
from predella.studio.line import Lines

log = logging.getLogger("predella.studio")
HOST = "127.0.0.1"
TABS = {
    "Many answers": "restore",
    "Enlarge": "upscale",
    "Fill holes": "fill",
    "New from one": "vary",
    "Draw samples": "sample",
}  # what it says → the file of it, in this folder
LARGEST = "500mb"  # of a file that is handed in


def make_page(lines: Lines):
    """The page as gradio.Blocks, whose buttons run `lines`; what is made on it lies where they work.

    Raises:
        UserError: gradio is not there.
    """
    try:
        import gradio as gr
    except ImportError:
        raise UserError("the web page needs gradio; run: pip install 'gradio>=6,<7'") from None
    from importlib import import_module

    from predella.studio.examples import make_examples

    examples = make_examples(lines.root / "examples")
    with gr.Blocks(title="predella", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        what = "Several answers to one picture, and more. Pictures stay on this machine"
        gr.Markdown(f"# predella\n{what}; what is made here goes with the page, so fetch what is to stay.")
        for title, name in TABS.items():
            with gr.Tab(title):
                import_module(f"predella.studio.{name}").tab(lines, examples)
    return page


def serve(port: int, ready: Callable[[str], None], stop: threading.Event | None = None) -> None:
    """Serve the page until Ctrl-C, or until `stop` is set; what was made on it is gone then.

    Args:
        port: 0 = any that is free.
        ready: hears the address once it can be opened.

    Raises:
        UserError: a port that is taken, or can't be, or no gradio.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port} can't be had ({error}); name another with --port, 0 = any that is free") from None
        port = probe.getsockname()[1]
    with _sigterm(), TemporaryDirectory(prefix="predella-studio-", ignore_cleanup_errors=True) as folder, _environment(folder):
        lines = Lines(Path(folder), Path.cwd())
        page = make_page(lines)
        import gradio as gr
        import httpx
        from starlette.middleware import Middleware

        from predella.studio.guard import OnlyOwnPage

        logging.getLogger("httpx").setLevel(logging.WARNING)
        theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # its own are fetched
        guarded = {"middleware": [Middleware(OnlyOwnPage, port=port)]}
        try:
            page.queue(default_concurrency_limit=1).launch(
                server_name=HOST, server_port=port, share=False, quiet=True, show_error=True, prevent_thread_lock=True, ssr_mode=False,
                footer_links=[], max_file_size=LARGEST, theme=theme, css=".said textarea {font-family: monospace}", app_kwargs=guarded,
            )  # fmt: skip
            ready(f"http://{HOST}:{port}")
            (stop or threading.Event()).wait()
        except KeyboardInterrupt:
            log.info("ending the page")
        except (OSError, httpx.HTTPError) as error:
            raise UserError(f"the page can't be served on port {port} ({error}); name another with --port") from None
        finally:
            lines.close()
            page.close(verbose=False)


@contextmanager
def _sigterm() -> Generator[None]:
    """SIGTERM ends as Ctrl-C does: nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(folder: str) -> Generator[None]:
    """What gradio reads there: it tells nobody, works in `folder`, and asks its own address directly."""
    own = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder, "HF_HUB_DISABLE_TELEMETRY": "1"}
    direct = {name: ",".join(filter(None, (os.environ.get(name), HOST, "localhost"))) for name in ("no_proxy", "NO_PROXY")}
    before = {name: os.environ.get(name) for name in own | direct}
    os.environ.update(own | direct)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
