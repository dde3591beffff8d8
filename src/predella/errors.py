"""One kind of exception for what a user can mend: the command line prints it as one line and exits with status 2."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

MANY = 30  # words, which would be no line any more


class UserError(ValueError):
    """A mistake in what the user gave. The message says the value, the rule and the remedy, in one line."""


def not_found(path: Path | str, remedy: str = "check the path") -> UserError:
    """For a path where nothing is; an address, of which a path has lost a slash, is known as one."""
    if found := re.match("(https?|ftp):/+(.+)", str(path)):
        return UserError(f"{found[1]}://{found[2]} is an address, files are read here; fetch it first (curl -O) and name the file")
    return UserError(f"{path} does not exist; {remedy}")


def did_you_mean(word: str, known: Iterable[str], listed: str = "") -> str:
    """`; did you mean 'seed'?` for the known word nearest to `word`, or the list of all when none is near; of more than MANY the
    command `listed` that names them.

    Example:
        >>> did_you_mean("sed", ["seed", "steps"])
        "; did you mean 'seed'?"
    """
    known = sorted(known)
    if near := get_close_matches(word, known, n=1, cutoff=0.6):
        return f"; did you mean '{near[0]}'?"
    return f"; `{listed}` names them" if listed and len(known) > MANY else f"; known: {', '.join(known)}"
