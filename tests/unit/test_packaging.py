"""What setup.cfg, the README and the scripts promise."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import pytest
import urllib3
from packaging.requirements import Requirement

import requests_h2

ROOT = Path(__file__).resolve().parents[2]
USERS_EXTRAS = ("brotli", "zstd", "socks", "nghttp2", "httpie", "demo")
SCRIPTS = ["docs/tour.sh", "tests/run.sh", ".ci/setup-lib.sh"]


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def test_version_is_a_plain_literal() -> None:
    # setuptools then reads it without importing the package, whose dependencies a build lacks.
    source = Path(requests_h2.__file__).read_text(encoding="utf-8")
    assert re.search(rf'^__version__ = "{re.escape(requests_h2.__version__)}"$', source, re.M)


def test_the_changelog_has_the_version() -> None:
    changelog = (ROOT / "docs/changelog.rst").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(requests_h2.__version__)} \(.+\)\n-+\n", changelog, re.M)


def test_installed_metadata_agrees() -> None:
    try:
        installed = version("requests-http2")
    except PackageNotFoundError:
        pytest.skip("the distribution requests-http2 is not installed: pip install -e .")
    assert installed == requests_h2.__version__
    names = {Requirement(line).name for line in requires("requests-http2") or []}
    assert {"requests", "urllib3", "h2", "hpack", "certifi", "hypercorn", "trustme"} <= names


def test_the_description_links_to_nothing_of_the_checkout() -> None:
    """PyPI has no files that a relative link could lead to."""
    description = metadata("requests-http2").json["description"]
    assert "Two commands" in description
    assert re.findall(r"<(?!https?:)[^<>]+>`_|image::", description) == []


def test_what_runs_here_satisfies_the_ranges(setup_cfg: configparser.ConfigParser) -> None:
    for line in lines(setup_cfg["options"]["install_requires"]):
        requirement = Requirement(line)
        assert requirement.specifier.contains(version(requirement.name)), line


def test_every_extra_of_a_user_is_tested(setup_cfg: configparser.ConfigParser) -> None:
    extras = setup_cfg["options.extras_require"]
    tested = wanted("\n".join(extras[each] for each in ("test", "test-tools", "compat")))
    for extra in USERS_EXTRAS:
        assert wanted(extras[extra]) <= tested


def test_ci_installs_the_lower_bounds(setup_cfg: configparser.ConfigParser) -> None:
    extras = setup_cfg["options.extras_require"]
    texts = [extras[extra] for extra in USERS_EXTRAS]
    ranges = map(Requirement, lines("\n".join([setup_cfg["options"]["install_requires"], *texts])))
    bounds = {
        f"{each.name}=={bound.version}"
        for each in ranges
        for bound in each.specifier
        if bound.operator == ">="
    }
    printed = subprocess.run(
        [sys.executable, str(ROOT / ".ci/floors.py")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert set(printed.stdout.split()) == bounds


def wanted(text: str) -> set[tuple[str, str]]:
    """(name, extra) of each requirement; the extra is empty for the package itself."""
    requirements = map(Requirement, lines(text))
    return {(each.name, extra) for each in requirements for extra in each.extras or {""}}


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(requests_h2.__file__).parent / "py.typed").exists()


def test_what_is_no_module_is_packaged_too(setup_cfg: configparser.ConfigParser) -> None:
    package = Path(requests_h2.__file__).parent
    others = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    patterns = setup_cfg["options.package_data"]["requests_h2"].split(",")
    assert {pattern.strip() for pattern in patterns} == others


def test_the_readme_is_what_it_promises() -> None:
    readme = (ROOT / "README.rst").read_text(encoding="utf-8")
    for command in ("sh docs/tour.sh", "sh tests/run.sh"):
        assert f"\n    {command}\n" in readme
        assert (ROOT / command.removeprefix("sh ")).exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_valid_sh(script: str) -> None:
    checked = subprocess.run(
        ["sh", "-n", str(ROOT / script)], capture_output=True, text=True, timeout=30, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_ci_entry_is_executable() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_importing_starts_nothing() -> None:
    program = (
        # urllib3 binds a socket, once, to learn whether there is IPv6.
        "import socket, subprocess, sys, threading, requests\n"
        "def never(*args, **kwargs): raise SystemExit('a side effect of the import')\n"
        "socket.socket.bind = socket.socket.connect = never\n"
        "subprocess.Popen.__init__ = threading.Thread.start = never\n"
        "import requests_h2, requests_h2.demo.__main__, requests_h2.demo.server\n"
        "print(sorted({'httpie', 'hypercorn', 'trustme'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("number", ["2.25.904", "2.25.904.dev1"])
def test_what_takes_the_place_of_urllib3_is_refused(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib3, "__version__", number)
    with pytest.raises(ImportError, match="urllib3-future"):
        requests_h2.HTTP2Adapter()


def test_urllib3_is_taken_whatever_its_version_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("2.8.0", "2.899.12", "3.0.dev1", "unknown"):
        monkeypatch.setattr(urllib3, "__version__", number)
        requests_h2.HTTP2Adapter().close()
