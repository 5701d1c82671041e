"""``python -m requests_h2``: HTTP/2 for a program as it is, and what a server speaks."""

from __future__ import annotations

import argparse
import sys
import threading
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
    commands = parser.add_subparsers(required=True)
    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument(
        "--engine",
        choices=("auto", "h2", "nghttp2"),
        default="auto",
        help="what speaks the protocol; default: nghttp2 when it is installed, else h2",
    )

    description = "Run a program whose requests.Session objects speak HTTP/2."
    run = commands.add_parser(
        "run",
        parents=[engine],
        help="run a program over HTTP/2, as it is",
        description=description,
    )
    run.add_argument(
        "--http2",
        choices=list(_HTTP2),
        default="yes",
        help="required: no HTTP/1.1 instead; no: for a comparison; default: yes",
    )
    run.add_argument(
        "-m", dest="module", action="store_true", help="PROGRAM is a module, as in python -m"
    )
    run.add_argument(
        "program",
        metavar="PROGRAM",
        help="a script, or a folder or archive with a __main__.py; with -m, a module or package",
    )
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    run.set_defaults(command=_run)

    description = "Tell what a server speaks and why, with advice. The exit status is 1 if anything"
    description += " stands in the way of HTTP/2."
    doctor = commands.add_parser(
        "doctor",
        parents=[engine],
        help="tell what a server speaks and why",
        description=description,
    )
    doctor.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="for each step; default: %(default)g",
    )
    doctor.add_argument("url", metavar="URL", help="https://host/path")
    doctor.set_defaults(command=_doctor)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number of seconds") from None
    if not 0 < value <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError("must be more than 0, and finite")
    return value


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


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import diagnose

    status = 0
    try:
        for finding in diagnose(options.url, engine=options.engine, timeout=options.timeout):
            print(finding, flush=True)
            status = status if finding.ok else 1
    except KeyboardInterrupt:
        return 130
    return status


def _fail(reason: Exception, status: int = 1) -> int:
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
