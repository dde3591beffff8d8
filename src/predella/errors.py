"""One kind of exception for what a user can mend: the command line prints it as one line and exits with status 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user gave. The message says the value, the rule and the remedy, in one line."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'seed'?` for the known word nearest to `word`, or the list of all when none is near.

    Example:
        >>> did_you_mean("sed", ["seed", "steps"])
        "; did you mean 'seed'?"
    """
    known = sorted(known)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
