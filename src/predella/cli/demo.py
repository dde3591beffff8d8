"""Every system at work on shipped weights and photos; writes one page.

predella demo [--out DIR]
"""

import json
import time
from pathlib import Path


def add_arguments(parser) -> None:
    parser.add_argument("--out", type=Path, default=Path("predella-demo"), help="folder for the page (default: predella-demo)")
    parser.add_argument("--force", action="store_true", help="overwrite a former demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    from predella.atomic import check_folder
    from predella.errors import UserError

    check_folder(options.out)
    if (options.out / "index.html").exists() and not options.force:
        raise UserError(f"{options.out / 'index.html'} exists; overwrite it with --force or choose another --out")
    if options.out.is_dir() and any(options.out.iterdir()) and not (options.out / "index.html").exists():
        raise UserError(f"{options.out} holds other files; choose an empty or new folder with --out")
    from predella.apps.demo import demo

    start = time.monotonic()
    found = demo(options.out, options.force, (lambda line: None) if options.json else print)
    seconds = time.monotonic() - start
    if options.json:
        print(json.dumps({"page": str(found), "seconds": round(seconds, 1)}))
    else:
        print(f"{found}  {seconds:.0f} s; open it in a browser")
    return 0
