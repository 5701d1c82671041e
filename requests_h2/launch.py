"""Running a program in this process as ``python script.py`` and ``python -m module`` do.

Not by :mod:`runpy`, which puts back the previous ``__main__`` when the program's last line is done:
its threads and exit handlers may go on, and pickle looks for its classes there.
"""

from __future__ import annotations

import builtins
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType, TracebackType
from typing import Any

_MAIN = "__main__"


class CannotRun(Exception):
    """There is no such program.

    :param status: with which Python itself would exit.
    """

    def __init__(self, reason: str, status: int = 1) -> None:
        super().__init__(reason)
        self.status = status


def run_script(path: str, arguments: Sequence[str]) -> None:
    """Run a file, a folder or an archive with a ``__main__`` in it.

    :raises CannotRun: when there is none.
    :raises BaseException: what the program raises, SystemExit included.
    """
    sys.argv = [path, *arguments]
    whole = os.path.abspath(path)
    if pkgutil.get_importer(whole) is None:
        _put_first(os.path.dirname(os.path.realpath(path)), insecure=True)
        _run_file(whole)
    else:
        _put_first(whole)
        spec = PathFinder.find_spec(_MAIN, [whole])
        if spec is None:
            raise CannotRun(f"can't find {_MAIN!r} module in {whole!r}")
        _run_spec(spec)


def run_module(name: str, arguments: Sequence[str]) -> None:
    """Run a module, or a package's ``__main__``.

    :raises CannotRun: when there is none.
    :raises BaseException: what importing its packages raises, and what the program raises.
    """
    sys.argv = ["-m", *arguments]
    spec = _find(name)
    if spec.submodule_search_locations is not None:
        try:
            spec = _find(f"{name}.{_MAIN}")
        except CannotRun:
            raise CannotRun(f"{name!r} has no {_MAIN} module and cannot be executed") from None
    sys.argv[0] = spec.origin or name
    _run_spec(spec)


def _put_first(folder: str, insecure: bool = False) -> None:
    """Have the program's imports come from there, unless Python was told (``-P``) not to."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = folder  # in the place of the current folder, which -m has put there
    elif not insecure:
        sys.path.insert(0, folder)


def _find(name: str) -> ModuleSpec:
    if name.startswith("."):
        raise CannotRun(f"{name!r}: relative module names are not supported")
    try:
        spec = find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # not the module, but something that it needs
        raise CannotRun(f"No module named {error.name}") from None
    if spec is None:
        raise CannotRun(f"No module named {name}")
    return spec


def _run_file(path: str) -> None:
    loader = SourceFileLoader(_MAIN, path)
    try:
        source = loader.get_data(path)
    except OSError as error:
        raise CannotRun(f"can't open file {path!r}: {error.strerror}", status=2) from error
    attributes = {"__file__": path, "__cached__": None, "__loader__": loader}
    _run(attributes, lambda: loader.source_to_code(source, path))


def _run_spec(spec: ModuleSpec) -> None:
    loader: Any = spec.loader
    attributes = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }

    def code() -> CodeType:
        found: CodeType | None = loader.get_code(spec.name)
        if found is None:
            raise CannotRun(f"there is no code of {spec.name} to be executed")
        return found

    _run(attributes, code)


def _run(attributes: dict[str, Any], make_code: Callable[[], CodeType]) -> None:
    module = sys.modules[_MAIN] = ModuleType(_MAIN)
    vars(module).update(attributes, __builtins__=builtins)
    code = None
    try:
        code = make_code()
        exec(code, vars(module))
    except BaseException:
        _show_from(code)
        raise


def _show_from(code: CodeType | None) -> None:
    """Have the traceback of the exception that is about to end everything begin with the program's
    own frames; with none, if it has not begun.
    """
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code is not code:
            trace = trace.tb_next
        show(kind, error.with_traceback(trace), trace)

    sys.excepthook = hook
