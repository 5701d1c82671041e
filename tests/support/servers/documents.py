"""The static files that every server offers."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
#: What every server pushes with /pushing; and with /pushing-large it pushes /100m.
PUSHED = ("/pushed-1", "/pushed-2")
#: 2015-05-14, when RFC 7540 was published.
MODIFIED = 1431561600


@dataclass(frozen=True)
class Document:
    size: int
    sha256: str


def write_documents(folder: Path) -> dict[str, Document]:
    """Write /1k, /100m, /text.txt and what goes with pushes, the same bytes on every run."""
    block = random.Random(9113).randbytes(MIB)
    small = block[:1024]
    # Compressible, and long enough that no server thinks compression too much trouble.
    text = b"".join(b"line %d of a text that compresses well\n" % n for n in range(2000))
    (folder / "1k").write_bytes(small)
    (folder / "text.txt").write_bytes(text)
    for name in ("pushing", "pushing-large", *(path.strip("/") for path in PUSHED)):
        (folder / name).write_bytes(f"this is {name}\n".encode())
    digest = hashlib.sha256()
    with (folder / "100m").open("wb") as file:
        for number in range(100):
            # Numbered, so that a lost or swapped block changes the hash.
            numbered = number.to_bytes(8, "big") + block[8:]
            file.write(numbered)
            digest.update(numbered)
    for each in folder.iterdir():
        each.chmod(0o644)
        # Apache makes only weak validators for a file that has just changed.
        os.utime(each, (MODIFIED, MODIFIED))
    return {
        "1k": Document(len(small), hashlib.sha256(small).hexdigest()),
        "100m": Document(100 * MIB, digest.hexdigest()),
        "text.txt": Document(len(text), hashlib.sha256(text).hexdigest()),
    }
