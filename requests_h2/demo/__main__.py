"""``python -m requests_h2.demo``: the tour, or with a URL one GET against that server."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import warnings
from collections.abc import Sequence

import requests
from urllib3.exceptions import InsecureRequestWarning

from requests_h2.demo.fetch import fetch, one_line
from requests_h2.demo.server import DemoServerError
from requests_h2.demo.tour import run

PROGRAM = "python -m requests_h2.demo"


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        if options.url is None:
            run(sys.stdout)
        else:
            verify = False if options.insecure else options.cacert
            with warnings.catch_warnings():
                if options.insecure:  # the user has said so: no need to warn
                    warnings.simplefilter("ignore", InsecureRequestWarning)
                fetch(options.url, sys.stdout, timeout=options.timeout, verify=verify)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DemoServerError as error:
        return fail(str(error))
    except requests.ConnectionError as error:
        return fail(f"{one_line(error)}; python -m requests_h2 doctor URL tells more")
    except (requests.RequestException, OSError) as error:
        return fail(one_line(error))
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Show HTTP/2 with requests: without URL, a tour against an embedded server on "
        "127.0.0.1; with URL, one GET against that server.",
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="what to GET")
    parser.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="SECONDS", help="default: %(default)g"
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--cacert", metavar="FILE", help="trust the certificate authorities in FILE")
    trust.add_argument("--insecure", action="store_true", help="do not verify the certificate")
    return parser


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError("must be more than 0, and finite")
    return value


def fail(message: str) -> int:
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
