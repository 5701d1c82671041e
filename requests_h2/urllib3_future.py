"""urllib3-future, which takes the name urllib3 and has other methods behind it."""

from __future__ import annotations

import re

import urllib3


def require_urllib3() -> None:
    """urllib3-future tells itself apart by versions whose third number is 900 or above.

    :raises ImportError: when it is there in the place of urllib3.
    """
    version: str = urllib3.__version__  # type: ignore[attr-defined]  # not in its __all__
    number = re.match(r"[0-9]+\.[0-9]+\.([0-9]+)", version)
    if number is not None and int(number[1]) >= 900:
        raise ImportError(
            f"requests_h2 needs urllib3, and urllib3-future {version} is installed in "
            "its place, as niquests does it; install the two in environments of their own"
        )
