"""The oldest release in each range that setup.cfg gives the package's users, as ``NAME==RELEASE``.

Of what is required and of the users' extras; those for developers are no promise.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

EXTRAS = ("brotli", "zstd", "socks", "nghttp2", "httpie", "demo")
SETUP_CFG = Path(__file__).resolve().parents[1] / "setup.cfg"


def floors() -> list[str]:
    config = configparser.ConfigParser(interpolation=None)
    config.read(SETUP_CFG, encoding="utf-8")
    extras = config["options.extras_require"]
    texts = [config["options"]["install_requires"], *(extras[extra] for extra in EXTRAS)]
    ranges = re.findall(r"^([\w.-]+)>=([\w.]+)", "\n".join(texts), re.M)
    return [f"{name}=={floor}" for name, floor in ranges]


if __name__ == "__main__":
    print("\n".join(floors()))
