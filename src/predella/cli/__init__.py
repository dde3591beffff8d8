"""The command line: one file a verb group. Nothing heavy is imported before a verb runs."""

import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter, _AppendAction
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import NoReturn

# verb → (file, what it does); the files have add_arguments(parser) and run(options, rest)
VERBS = {
    "demo": ("demo", "every system at work on shipped weights and photos; writes one page"),
    "list": ("show", "recipes, models, tasks, metrics, pretrained"),
    "train": ("train", "train a recipe on your pictures"),
    "evaluate": ("evaluate", "the recipe's own measures of a run, into its metrics.jsonl"),
    "measure": ("measure", "metrics of pairs of files or folders"),
    "upscale": ("upscale", "enlarge photos to any size"),
    "fill": ("fill", "fill holes of a photo"),
    "restore": ("restore", "several plausible answers to a grey photo, a ruined JPEG, a few pixels, a label map"),
    "sample": ("sample", "draw pictures from a trained model"),
    "encode": ("encode", "the latents of images, as a file"),
    "decode": ("decode", "images back from latents"),
    "interpolate": ("interpolate", "pictures between two pictures"),
    "vary": ("vary", "variations of a picture"),
    "harmonize": ("blend", "make a paste look as if it had always been there"),
    "edit": ("blend", "make an edited picture whole again"),
    "animate": ("animate", "a picture that moves"),
    "trace": ("trace", "a shape as one closed line"),
    "score": ("score", "bits per dimension of images"),
    "report": ("report", "make RESULTS.md from the recorded runs"),
    "export": ("export", "write a model as ONNX"),
    "studio": ("studio", "the web page: restore, upscale, fill, vary, sample by clicking"),
}


MISTAKES = (  # argparse's words → ours
    (r"argument (\S+): invalid int value: (.*)", r"\1 must be a whole number, got \2"),
    (r"argument (\S+): invalid float value: (.*)", r"\1 must be a number, got \2"),
    (r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)", r"\1 must be one of \3; got \2"),
    (r"argument (\S+): expected (?:one|at least one) argument", r"\1 wants a value (one that begins with - as \1=…); see --help"),
    (r"argument (\S+): expected (\d+) arguments", r"\1 wants \2 values; see --help"),
    (r"argument (\S+): ignored explicit argument (.*)", r"\1 takes no value, got \2"),
    (r"argument task: (.*)", r"\1"),
    (r"the following arguments are required: (.*)", r"missing: \1; it is '{}', see --help"),
)


class Parser(ArgumentParser):
    """Mistakes in one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        for theirs, ours in MISTAKES:
            if found := re.fullmatch(theirs, message, re.DOTALL):
                fail(found.expand(ours.replace("{}", f"{self.prog} {self._wanted()} …")))
        fail(message)

    def _wanted(self) -> str:
        """The words that must be given, in their order: `TASK IMAGE --out OUT`."""
        needed = sorted((a for a in self._actions if a.required and a.nargs != "*"), key=lambda a: bool(a.option_strings))
        words = [(a.metavar or a.dest.upper(), next(iter(a.option_strings), "")) for a in needed]
        return " ".join(f"{option} {name}".strip() for name, option in words)


def fail(message: str) -> NoReturn:
    """One line on standard error, exit status 2."""
    print("predella: " + " ".join(str(message).split()), file=sys.stderr)
    raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from predella import __version__

        print(f"predella {__version__}")
        return 0
    verb = words[0]
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(VERBS)}"
        fail(f"no verb is called '{verb}'; {remedy}")
    module = import_module(f"predella.cli.{VERBS[verb][0]}")
    parser = Parser(prog=f"predella {verb}", description=module.__doc__, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    module.add_arguments(parser)
    known = [s for a in parser._actions for s in a.option_strings]
    if not getattr(module, "TAKES_FIELDS", False):  # before argparse: a misspelt option matters more than a missing one
        for word in (w.split("=")[0] for w in words[1:] if w.startswith("--") and w != "--"):
            if word not in known:
                near = get_close_matches(word, known, n=1)
                fail(f"predella {verb} does not know '{word}'" + (f"; did you mean '{near[0]}'?" if near else "; see --help"))
    given = [w.split("=")[0] for w in words[1:]]
    for action in parser._actions:
        if action.nargs != 0 and not isinstance(action, _AppendAction) and sum(given.count(s) for s in action.option_strings) > 1:
            fail(f"{action.option_strings[-1]} is given twice; only the last would count")
    for word in words[1:]:
        if re.match("-[^-]", word) and word not in known and Path(word).is_file():
            fail(f"{word} begins with a dash, as options do; write ./{word} for the file")
    if not getattr(module, "TAKES_FIELDS", False):  # of fields an empty word is a value
        for before, word in zip(words, words[1:]):
            if not word or re.fullmatch("--[^=]+=", word):
                what = word[:-1] or (before if before.startswith("--") else "one of the arguments")
                fail(f"{what} is empty, as an unset variable of the shell is; give a value or leave it out")
    options, rest = parser.parse_known_args(words[1:])
    options.given = frozenset(given)
    if rest and not getattr(module, "TAKES_FIELDS", False):
        unknown = f"predella {verb} does not know '{rest[0]}'" if rest[0].startswith("-") else f"'{rest[0]}' is too much for {verb}"
        numbers = "; a list of numbers has commas and no spaces" if re.fullmatch(r"-?[\d.]+,?", rest[0]) else ""
        fail(f"{unknown}{numbers or '; see --help'}")
    return _guard(module, options, rest)


def _guard(module, options, rest) -> int:
    import logging

    from predella.errors import UserError

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("accelerate", "PIL", "httpx", "huggingface_hub", "torch"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return module.run(options, rest) or 0
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:
        return 0
    except OSError as error:
        fail(f"{error.filename or 'a file'} can't be read or written: {error.strerror or error}; check the place and the space left")
    except KeyboardInterrupt as stopped:
        print(f"predella: stopped{f'; {stopped}' if str(stopped) else ''}", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)):
            raise
        fail("not enough memory for this; ask for a smaller size, or of training for a smaller batch")


def _overview() -> str:
    rows = "\n".join(f"  {verb:10} {text}" for verb, (_, text) in VERBS.items())
    return f"usage: predella VERB …\n\n{rows}\n\n`predella VERB --help` tells more; errors exit with status 2."
