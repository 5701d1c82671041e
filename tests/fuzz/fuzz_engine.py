"""Coverage-guided fuzzing of the engines, for as long as one likes::

    pip install atheris
    python tests/fuzz/fuzz_engine.py -max_total_time=60 [corpus directory]

The input is a program of steps (``tests.fuzz.drive``): octets from the server, commands of the
client. Any exception is a find; libFuzzer writes its input to ``crash-*``, and giving that file as
an argument runs it again.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

_KINDS = (*range(10), 0, 1, 1, 1, 3, 4, 5, 5, 7, 8, 9, 0xFA)
_ACTS = (
    *("send", "end", "consume", "close", "drain", "take"),
    *("push", "no push", "cancel", "credit", "ping", "prioritise"),
)


def main() -> None:
    try:
        import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        sys.exit("This target needs Atheris, which the tests do not install: pip install atheris")
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    with atheris.instrument_imports(include=["requests_h2", "h2", "hpack", "hyperframe"]):
        from tests.fuzz import drive

    def target(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        name = "nghttp2" if provider.ConsumeBool() else "h2"
        driven = drive.Drive(name, push=provider.ConsumeBool())
        if provider.ConsumeBool():
            driven.run(_structured(provider, drive))
        else:
            driven.run(_raw(provider, drive))

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


def _raw(provider: Any, drive: Any) -> list[Any]:
    """Octets as they are, behind a request and SETTINGS."""
    greeting = bytes.fromhex("000000040000000000")
    steps = [drive.Open(provider.ConsumeBool()), drive.Open(False), drive.Receive(greeting)]
    while provider.remaining_bytes():
        steps.append(drive.Receive(provider.ConsumeBytes(provider.ConsumeIntInRange(1, 400))))
    return steps


def _structured(provider: Any, drive: Any) -> list[Any]:
    """Frames with a true length, between commands."""
    steps = [drive.Open(provider.ConsumeBool())]
    if provider.ConsumeIntInRange(0, 15):
        steps.append(drive.Receive(bytes.fromhex("000000040000000000")))
    while provider.remaining_bytes() and len(steps) < 60:
        choice = provider.ConsumeIntInRange(0, 9)
        if choice == 0:
            method = "HEAD" if provider.ConsumeBool() else "GET"
            steps.append(drive.Open(provider.ConsumeBool(), method))
        elif choice == 1:
            act = _ACTS[provider.ConsumeIntInRange(0, len(_ACTS) - 1)]
            number, size = provider.ConsumeIntInRange(0, 7), provider.ConsumeIntInRange(0, 70_000)
            steps.append(drive.Act(act, number, size))
        else:
            steps.append(drive.Receive(_frame(provider)))
    return steps


def _frame(provider: Any) -> bytes:
    kind = _KINDS[provider.ConsumeIntInRange(0, len(_KINDS) - 1)]
    flags = provider.ConsumeIntInRange(0, 255)
    stream_id = (1, 1, 0, 3, 5, 2, 7, 2**31 - 1)[provider.ConsumeIntInRange(0, 7)]
    payload = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 120))
    if kind == 5:
        payload = provider.ConsumeIntInRange(0, 9).to_bytes(4, "big") + payload
    if kind == 0 and provider.ConsumeBool():
        payload *= 100
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big")
    return bytes(head + payload)


if __name__ == "__main__":
    main()
