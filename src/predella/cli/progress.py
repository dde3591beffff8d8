"""Progress of long work on standard error: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress(title: str) -> Generator[Callable[[float], None]]:
    """Yields a function that takes the fraction done, 0 to 1."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


def _lines(title: str) -> Callable[[float], None]:
    start = last = time.monotonic()

    def tell(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 10 and 0 < fraction < 1:
            last = now
            print(f"{title}: {fraction:.0%}, {(now - start) / fraction * (1 - fraction):.0f} s left", file=sys.stderr)

    return tell
