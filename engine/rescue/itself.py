"""Where this program runs from: an installation, or the one file that a store's rescue/ holds."""

from __future__ import annotations

import os
import shutil
import sys

import engine

RUN, RUN_COPY = "--run-module", "--run-copy"
"""The first word to a pyz that is to run one of its modules, and the second the module; with the other one the pyz
removes itself afterwards."""


def archive() -> str:
    """Return the path of the file that this program runs from as a whole (a pyz), or "" when it is installed."""
    loader = engine.__spec__.loader if engine.__spec__ else None
    return str(getattr(loader, "archive", ""))


def data(path: str) -> bytes:
    """Return the content of one of this program's files, out of the pyz that it runs from."""
    from zipimport import zipimporter

    loader = engine.__spec__.loader if engine.__spec__ else None
    assert isinstance(loader, zipimporter)
    return loader.get_data(path)


def argv(module: str) -> list[str]:
    """Return the words that run this program once more as it runs now; `module` is its main module."""
    source = archive()
    return [sys.executable, os.path.abspath(source)] if source else [sys.executable, "-m", module]


def module_argv(module: str, directory: str) -> list[str]:
    """Return the words that run a module of this program in another Python.

    Out of a pyz that is a copy of it in `directory`, which goes when the module ends: what we run from may lie on what
    the other process rolls back, or on a stick that is pulled.
    """
    source = archive()
    if not source:
        return [sys.executable, "-m", module]
    target = os.path.join(directory, f"rollpoint-{os.getpid()}.pyz")
    shutil.copyfile(source, target)
    return [sys.executable, "-I", target, RUN_COPY, module]
