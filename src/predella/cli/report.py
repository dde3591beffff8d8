"""Make RESULTS.md from the recorded runs.

predella report [--results DIR] [--out FILE]    and with --card RUN: the model card of a run folder
"""

from pathlib import Path


def add_arguments(parser) -> None:
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of .jsonl records (default: results)")
    parser.add_argument("--out", type=Path, default=Path("RESULTS.md"), help="default: RESULTS.md")
    parser.add_argument("--card", type=Path, metavar="RUN", help="instead rewrite RUN/README.md from RUN's own records")
    parser.add_argument("--force", action="store_true", help="overwrite a file that predella did not make")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file would change")


def run(options, rest) -> int:
    from predella.atomic import write_text
    from predella.card import model_card
    from predella.errors import UserError
    from predella.report import MARK, curves, read_records, results

    if options.card:
        for name in ("recipe.json", "environment.json", "metrics.jsonl"):
            if not (options.card / name).exists():
                raise UserError(f"{options.card} has no {name}; give a run folder")
        out, text = options.card / "README.md", model_card(options.card)
    else:
        out, text = options.out, results(options.results)
    pictures = {} if options.card else {options.results / k: v for k, v in curves(read_records(options.results)).items()}
    if options.check:
        for file, wanted in ((out, text), *pictures.items()):
            if not file.exists() or file.read_text() != wanted:
                raise UserError(f"{file} is not what the records say; run predella report")
        return 0
    if out.is_dir():
        raise UserError(f"--out must name a file such as RESULTS.md, got the folder {out}")
    if out.exists() and MARK not in out.read_text() and not options.force:
        raise UserError(f"{out} exists and was not made by predella report; choose another --out or overwrite it with --force")
    for file, wanted in ((out, text), *pictures.items()):
        write_text(file, wanted)
    print(out)
    return 0
