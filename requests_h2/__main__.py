"""``python -m requests_h2``: HTTP/2 for a program as it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from .install import install

PROGRAM = "python -m requests_h2"
_HTTP2: dict[str, Any] = {"yes": True, "no": False, "required": "required"}


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    status: int = options.command(options)
    return status


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="HTTP/2 for requests.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument(
        "--engine",
        choices=("auto", "h2", "nghttp2"),
        default="auto",
        help="what speaks the protocol; default: nghttp2 when it is installed, else h2",
    )

    description = "Run a program whose requests.Session objects speak HTTP/2."
    run = commands.add_parser("run", parents=[engine], help=description, description=description)
    run.add_argument(
        "--http2",
        choices=list(_HTTP2),
        default="yes",
        help="required: no HTTP/1.1 instead; no: for a comparison; default: yes",
    )
    run.add_argument(
        "-m", dest="module", action="store_true", help="PROGRAM is a module, as in python -m"
    )
    run.add_argument("program", metavar="PROGRAM", help="a script, or what python would take")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    run.set_defaults(command=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    from .launch import CannotRun, run_module, run_script

    try:
        install(engine=options.engine, http2=_HTTP2[options.http2])
    except ImportError as error:
        return _fail(error)
    try:
        (run_module if options.module else run_script)(options.program, options.arguments)
    except CannotRun as error:
        return _fail(error, error.status)
    return 0


def _fail(reason: Exception, status: int = 1) -> int:
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
