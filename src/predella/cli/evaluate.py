"""The recipe's own measures of a run, appended to its metrics.jsonl (and to --record).

predella evaluate RUN --data SET … [--ensemble] [--record FILE]

RUN is a run folder, a shipped name, or a baseline: bicubic, biharmonic, and what a tower's input shows by itself: bicubic_16, jpeg (jpeg_10
for quality 10), grey (grey_32 for 32 pixels); and patch, variations of a picture from its nearest patches.
"""

import json
import shlex
import sys
from pathlib import Path

ENOUGH = 1000  # pictures of a Fréchet distance


def add_arguments(parser) -> None:
    parser.add_argument("run", help="a run folder, a shipped model's name, or a baseline")
    parser.add_argument("--data", nargs="+", metavar="SET", help="folders or named sets, each measured by itself (default: the recipe's)")
    parser.add_argument("--scales", help="for enlarging: scales to measure, such as 2,3,4")
    parser.add_argument("--ensemble", action="store_true", help="for enlarging: the mean over four rotations")
    parser.add_argument("--part", help="pictures FIRST,LAST of each set, last excluded, such as 9000,10000")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut from each picture, or 'none' (default: the recipe's)")
    parser.add_argument("--weights", type=Path, help="a folder with the features' weights (default: $PREDELLA_WEIGHTS, else fetched)")
    parser.add_argument("--features", choices=("vgg16", "alexnet", "cifar_classifier", "inception"), default="vgg16",
                        help="of a tower's answers: LPIPS (default), or the shipped classifier's; of blends: VGG16 (default) or AlexNet; "
                        "of a density's samples: what suits their size (default), the shipped classifier, or Inception")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of samples (default: 0)")
    parser.add_argument("--samples", type=int, default=20, help="variations of a picture, or draws of z for its bits (default: 20)")
    parser.add_argument("--conditions", type=int, metavar="N",
                        help="for towers: compare answers to the first N pictures (default: all); sets are compared whole")  # fmt: skip
    parser.add_argument("--tune", type=int, default=0, help="for such models: steps of training each picture's first (default: 0)")
    parser.add_argument("--curve", action="store_true", help="measure the kept checkpoints (train with --keep-every)")
    parser.add_argument("--record", type=Path, help="also append the rows to this .jsonl file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    from predella.atomic import check_folder
    from predella.cli.internal import check_tuning
    from predella.cli.shared import check_seed, parse_box, say
    from predella.errors import UserError
    from predella.evaluation import Asked, evaluate
    from predella.train.checkpoint import unfinished

    if note := unfinished(Path(options.run)):
        say(note)
    if options.record is not None:
        if options.record.suffix != ".jsonl" or options.record.is_dir():
            raise UserError(f"--record must name a .jsonl file, got {options.record}")
        check_folder(options.record.parent)
    check_seed(options.seed)
    if options.weights is not None and not options.weights.is_dir():
        raise UserError(f"--weights must name a folder with the features' weights, got {options.weights}")
    if not 2 <= options.samples <= 10_000:
        raise UserError(f"--samples must lie in 2…10000, got {options.samples}")
    if options.conditions is not None and options.conditions < 1:
        raise UserError(f"--conditions must be 1 picture or more, got {options.conditions}")
    check_tuning(options)
    rows = []
    command = "predella " + shlex.join(sys.argv[1:])
    box = () if options.box == "none" else parse_box(options.box)
    asked = Asked(_scales(options.scales), options.ensemble, _part(options.part), options.weights, options.seed, options.curve, box,
                  options.samples, options.tune, options.features, options.conditions)  # fmt: skip
    for row in evaluate(options.run, options.data, asked, command=command, record=options.record, named=options.given):
        rows.append(row)
        if not options.json:
            print(f"{row['set']:>12} {row['ask']:>9} {row['measure']:>9} {_shown(row['value'])}", flush=True)
    few = min((row["images"] for row in rows if row["measure"].startswith(("fd_", "fid_"))), default=ENOUGH)
    if few < ENOUGH:
        say(f"a Fréchet distance of {few} pictures is too large, the more so the fewer they are; compare it with those of as many only")
    if options.json:
        print(json.dumps({"rows": rows}))
    return 0


def _shown(value: float | None) -> str:
    if value is None:
        return "– (not finite)"
    return f"{value:.4f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"


def _scales(text: str | None) -> tuple[float, ...] | None:
    from predella.errors import UserError

    if text is None:
        return None
    try:
        scales = tuple(float(s) for s in text.split(","))
    except ValueError:
        raise UserError(f"--scales must be numbers with commas between, such as 2,3,4; got '{text}'") from None
    if not all(1 <= s <= 64 for s in scales):
        raise UserError(f"--scales must lie in 1…64, got '{text}'")
    return scales


def _part(text: str | None) -> tuple[int, ...]:
    from predella.cli.shared import whole_numbers
    from predella.errors import UserError

    if text is None:
        return ()
    first, last = whole_numbers(text, "--part (FIRST,LAST)", "9000,10000", 2)
    if first >= last:
        raise UserError(f"--part must be FIRST,LAST with FIRST below LAST, such as 9000,10000; got '{text}'")
    return first, last
