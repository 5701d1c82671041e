"""Children of the tests' own process."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable


def works_in_child(work: Callable[[], bool]) -> bool:
    """What ``work()`` returns in a forked child, which then ends at once; false if it raises."""
    with warnings.catch_warnings():
        # Python warns because of the peer's threads; eventlet, once anything has imported it, too.
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 1
        except BaseException:  # noqa: BLE001 - it must not become a second run of the tests
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
