"""The web page, on this machine's loopback address: nobody else can open it, and no picture leaves the machine.

predella studio [--port N]

Every button runs one line of the command line, which the page shows. Ctrl-C ends it, and what was made on the page is gone then:
fetch before what is to stay. Needs gradio: pip install 'gradio>=6,<7'.
"""


def add_arguments(parser) -> None:
    parser.add_argument("--port", type=int, default=7860, help="0 = any that is free (default: 7860)")


def run(options, rest) -> int:
    from predella.errors import UserError
    from predella.studio.page import serve

    if not 0 <= options.port <= 65535:
        raise UserError(f"--port must lie in 0…65535, got {options.port}")
    serve(options.port, lambda address: print(f"{address}  (Ctrl-C ends it)", flush=True))
    return 0
