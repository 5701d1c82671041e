"""``python -m requests_h2 run``: as ``python``, but for the adapter that sessions have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest

import requests_h2
from requests_h2.__main__ import main

ROOT = Path(requests_h2.__file__).parents[1]
RUN = ("-m", "requests_h2", "run")

PROBE = """
    import inspect, os, pickle, sys, requests
    class Mine: pass
    print(sys.argv)
    print(os.path.realpath(sys.path[0]))
    print(__name__, __file__, __package__, __doc__, __loader__.__class__)
    print(__spec__ and (__spec__.name, __spec__.origin, __spec__.parent))
    print(sys.modules["__main__"].__dict__ is globals(), type(__builtins__))
    print(inspect.currentframe().f_code.co_filename)
    print(type(pickle.loads(pickle.dumps(Mine()))) is Mine)
    print(type(requests.Session().get_adapter("https://")).__name__)
"""


def python(
    *arguments: str, cwd: Path, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write(path: Path, program: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(program), encoding="utf-8")
    return path


def assert_alike(
    tmp_path: Path, *arguments: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """What Python itself does and what ``run`` does differ in the adapter only."""
    stock = python(*arguments, cwd=tmp_path, options=options)
    ours = python(*RUN, *arguments, cwd=tmp_path, options=options)
    assert ours.stdout.replace("HTTP2Adapter", "HTTPAdapter") == stock.stdout
    assert (ours.stderr, ours.returncode) == (stock.stderr, stock.returncode)
    return ours


@pytest.mark.parametrize("options", [(), ("-B", "-W", "error")])
def test_script(tmp_path: Path, options: tuple[str, ...]) -> None:
    write(tmp_path / "folder" / "script.py", '"""What it is."""' + textwrap.dedent(PROBE))
    done = assert_alike(
        tmp_path, "folder/script.py", "-m", "--engine", "x", "--", "y", options=options
    )
    assert "['folder/script.py', '-m', '--engine', 'x', '--', 'y']\n" in done.stdout
    assert done.stdout.endswith("HTTP2Adapter\n")


def test_script_that_is_a_link(tmp_path: Path) -> None:
    """Its imports come from beside the file itself."""
    write(tmp_path / "real" / "script.py", "import beside\n" + textwrap.dedent(PROBE))
    write(tmp_path / "real" / "beside.py", "print('beside')")
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "script.py")
    assert assert_alike(tmp_path, "link.py").returncode == 0


def test_script_in_latin1(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_bytes(b"# coding: latin-1\nprint(ascii('\xe4'))\n")
    assert assert_alike(tmp_path, "script.py").stdout == "'\\xe4'\n"


def test_folder_and_archive(tmp_path: Path) -> None:
    write(tmp_path / "app" / "__main__.py", PROBE)
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    for name in ("app", "app.pyz"):
        assert assert_alike(tmp_path, name, "argument").stdout.endswith("HTTP2Adapter\n")


@pytest.mark.parametrize("name", ["module", "package", "package.inner"])
def test_module(tmp_path: Path, name: str) -> None:
    for path in ("module.py", "package/__main__.py", "package/inner.py"):
        write(tmp_path / path, PROBE)
    write(tmp_path / "package" / "__init__.py", "import sys; print(sys.argv[:1])")
    done = assert_alike(tmp_path, "-m", name, "-x", "--http2", "y")
    assert "'-x', '--http2', 'y']" in done.stdout
    assert done.stdout.endswith("HTTP2Adapter\n")


def test_safe_path(tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("-P is new in Python 3.11")
    write(tmp_path / "script.py", "import sys; print(sys.path)")
    assert_alike(tmp_path, "script.py", options=("-P",))


def test_options(tmp_path: Path) -> None:
    script = write(
        tmp_path / "script.py",
        """
        import requests, sys
        adapter = requests.Session().get_adapter("https://")
        print(adapter.engine, adapter._options.http2, sys.argv[1:])
        """,
    )
    done = python(*RUN, "--engine", "h2", "--http2=required", str(script), "--engine", cwd=tmp_path)
    assert done.stdout == "h2 required ['--engine']\n"
    done = python(*RUN, "--http2", "no", str(script), cwd=tmp_path)
    assert done.stdout.split()[1] == "False"


EXITS = {
    "number": "import sys; sys.exit(3)",
    "text": "raise SystemExit('that was it')",
    "nothing": "import sys; sys.exit()",
    "at exit": "import atexit; atexit.register(print, 'last words')",
    "error": "def function():\n    return 1 / 0\nfunction()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError from error",
    "no syntax": "print('x'\n",
    "own hook": "import sys\nsys.excepthook = lambda *about: print(about[:2])\n1 / 0",
    # A shell has its background jobs ignore it, and their children inherit that.
    "interrupt": (
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass"
    ),
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nwhile True: pass",
}


@pytest.mark.parametrize("how", list(EXITS))
def test_ends_of_a_script(tmp_path: Path, how: str) -> None:
    write(tmp_path / "script.py", EXITS[how])
    done = assert_alike(tmp_path, "script.py")
    assert done.returncode != 0 or how in ("nothing", "at exit")
    if how == "interrupt":
        assert done.returncode == -signal.SIGINT


@pytest.mark.parametrize("how", ["number", "at exit"])
def test_ends_of_a_module(tmp_path: Path, how: str) -> None:
    write(tmp_path / "module.py", EXITS[how])
    assert_alike(tmp_path, "-m", "module")


def test_traceback_of_a_module(tmp_path: Path) -> None:
    """Without the frames of runpy that Python shows."""
    write(tmp_path / "module.py", EXITS["error"])
    done = python(*RUN, "-m", "module", cwd=tmp_path)
    assert done.stderr.count("  File ") == 2
    assert done.stderr.startswith(
        "Traceback (most recent call last):\n"
        f'  File "{os.path.realpath(tmp_path)}/module.py", line 3, in <module>\n'
    )
    assert done.returncode == 1


def test_what_outlives_the_main_thread(tmp_path: Path) -> None:
    """``__main__`` is theirs to the end: pickle looks for classes there."""
    write(
        tmp_path / "script.py",
        """
        import atexit, pickle, requests, threading
        class Mine: pass
        def work():
            threading.main_thread().join()
            print(type(pickle.loads(pickle.dumps(Mine()))) is Mine)
            print(type(requests.Session().get_adapter("https://")).__name__)
        threading.Thread(target=work).start()
        @atexit.register
        def last():
            print(type(pickle.loads(pickle.dumps(Mine()))) is Mine)
        """,
    )
    assert assert_alike(tmp_path, "script.py").stdout == "True\nHTTP2Adapter\nTrue\n"


def test_processes_of_a_script(tmp_path: Path) -> None:
    """Forked ones have the adapter too; spawned ones are new programs."""
    write(
        tmp_path / "script.py",
        """
        import multiprocessing, requests
        def adapter(_):
            return type(requests.Session().get_adapter("https://")).__name__
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(pool.map(adapter, [0]))
        """,
    )
    assert assert_alike(tmp_path, "script.py").stdout == "['HTTP2Adapter']\n['HTTPAdapter']\n"


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (("missing.py",), "can't open file '{cwd}/missing.py': No such file or directory", 2),
        (("empty",), "can't find '__main__' module in '{cwd}/empty'", 1),
        (("-m", "missing"), "No module named missing", 1),
        (("-m", "missing.inner"), "No module named missing", 1),
        (("-m", "empty"), "'empty' has no __main__ module and cannot be executed", 1),
        (("-m", ".empty"), "'.empty': relative module names are not supported", 1),
        (("-m", "sys"), "there is no code of sys to be executed", 1),
    ],
)
def test_what_cannot_be_run(
    tmp_path: Path, arguments: tuple[str, ...], message: str, status: int
) -> None:
    (tmp_path / "empty").mkdir()
    done = python(*RUN, *arguments, cwd=tmp_path)
    expected = message.format(cwd=os.path.realpath(tmp_path))
    assert done.stderr == f"python -m requests_h2: {expected}\n"
    assert (done.stdout, done.returncode) == ("", status)
    assert python(*arguments, cwd=tmp_path).returncode == status


def test_a_module_that_does_not_import(tmp_path: Path) -> None:
    write(tmp_path / "package" / "__init__.py", "import a_missing_dependency")
    done = python(*RUN, "-m", "package.inner", cwd=tmp_path)
    assert "ModuleNotFoundError: No module named 'a_missing_dependency'" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments", [(), ("run",), ("run", "-m"), ("run", "--engine", "h3", "x.py"), ("walk",)]
)
def test_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m requests_h2" in capsys.readouterr().err


def test_an_engine_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ngh2", None)
    assert main(["run", "--engine", "nghttp2", "script.py"]) == 1
    assert 'python -m requests_h2: engine="nghttp2" needs' in capsys.readouterr().err


def test_importing_the_package_does_not_bring_the_commands() -> None:
    program = (
        "import sys, requests_h2\n"
        "print(sorted({'argparse', 'requests_h2.doctor', 'requests_h2.launch'} & {*sys.modules}))\n"
    )
    assert python("-c", program, cwd=ROOT).stdout == "[]\n"
