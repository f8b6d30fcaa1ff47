"""What the program consists of: its own files and those of the Python packages that it requires, by their metadata.

Nothing is imported for it. Native code is left out: everything that is needed has a form in pure Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import engine

_OWN = ("engine", "tui")
_PROJECT = "rollpoint"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?$", re.DOTALL)
_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")
_LEFT_OUT = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".pyi", ".pth", ".typed", ".scm", ".pem")
_KEPT_INFO = re.compile(r"METADATA$|PKG-INFO$|LICEN[CS]E|COPYING|NOTICE|AUTHORS", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """`files` maps names in the archive to paths on disk, `missing` names required packages that are not installed."""

    files: dict[str, str]
    missing: tuple[str, ...]
    packages: tuple[tuple[str, str], ...]

    @property
    def whole(self) -> bool:
        """Whether the full-screen app is among them."""
        return not self.missing


def collect() -> Parts:
    """Find all parts of the program as it is installed here."""
    found: dict[str, metadata.Distribution] = {}
    missing: set[str] = set()
    for text in _requirements():
        _follow(text, frozenset(), found, missing, set())
    files = dict(_own_files())
    for name, dist in found.items():
        theirs = dict(_files_of(dist))
        if not any(path.endswith(".py") for path in theirs):
            missing.add(name)
        files.update(theirs)
    packages = sorted((name, dist.version) for name, dist in found.items())
    return Parts(dict(sorted(files.items())), tuple(sorted(missing)), tuple(packages))


def fingerprint() -> str:
    """Return a hash that changes when the program or one of its packages does; quick, since it reads no contents."""
    digest = hashlib.sha256()
    for name, path in sorted(_own_files()):
        info = os.stat(path)
        digest.update(f"{name} {info.st_size} {info.st_mtime_ns}\n".encode())
    parts = collect_packages()
    for name, version in parts:
        digest.update(f"{name} {version}\n".encode())
    return digest.hexdigest()


def collect_packages() -> list[tuple[str, str]]:
    """Return name and version of each package that is required and installed."""
    found: dict[str, metadata.Distribution] = {}
    for text in _requirements():
        _follow(text, frozenset(), found, set(), set())
    return sorted((name, dist.version) for name, dist in found.items())


def _base() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(str(engine.__file__))))


def _own_files() -> Iterator[tuple[str, str]]:
    for package in _OWN:
        yield from _walk(os.path.join(_base(), package), package)


def _walk(directory: str, prefix: str) -> Iterator[tuple[str, str]]:
    for place, dirs, names in os.walk(directory):
        dirs[:] = sorted(d for d in dirs if d != "__pycache__" and not d.startswith("."))
        inside = os.path.join(prefix, os.path.relpath(place, directory)) if place != directory else prefix
        for name in names:
            if not name.endswith(_LEFT_OUT) and not name.startswith("."):
                yield f"{inside}/{name}", os.path.join(place, name)


def _requirements() -> list[str]:
    """Return what the project requires: from its metadata where it is installed, else from its pyproject.toml."""
    project = os.path.join(_base(), "pyproject.toml")
    if os.path.exists(project):
        with open(project, "rb") as file:
            return list(tomllib.load(file)["project"]["dependencies"])
    return metadata.requires(_PROJECT) or []


def _follow(text: str, extras: frozenset[str], found: dict[str, metadata.Distribution], missing: set[str],
            seen: set[tuple[str, frozenset[str]]]) -> None:
    """Follow one requirement of something that was asked for with `extras`, and all that it requires in turn.

    Conditions other than extras are not worked out: what is installed is taken (it can do no harm), and what is not
    installed but for a condition is not missed.
    """
    match = _REQUIREMENT.match(text)
    if match is None:
        return
    condition = match[3] or ""
    extra = _EXTRA.search(condition)
    if extra and extra[1] not in extras:
        return
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    wanted = frozenset(e.strip() for e in (match[2] or "").split(",") if e.strip())
    if (name, wanted) in seen:
        return
    seen.add((name, wanted))
    try:
        dist = found[name] if name in found else metadata.distribution(name)
    except metadata.PackageNotFoundError:
        if not condition or extra:
            missing.add(name)
        return
    found[name] = dist
    for inner in dist.requires or ():
        _follow(inner, wanted, found, missing, seen)


def _files_of(dist: metadata.Distribution) -> Iterator[tuple[str, str]]:
    """Yield the files of an installed package; those of its modules where there is no list, as in Debian's packages."""
    if dist.files is None:
        yield from _modules_of(dist)
        return
    for path in dist.files:
        first = path.parts[0]
        is_info = first.endswith((".dist-info", ".egg-info"))
        if ".." in path.parts or path.is_absolute() or "__pycache__" in path.parts or path.name.endswith(_LEFT_OUT):
            continue
        if is_info and not _KEPT_INFO.search("/".join(path.parts[1:])):
            continue
        full = str(dist.locate_file(path))
        if os.path.isfile(full):
            yield str(path), full


def _modules_of(dist: metadata.Distribution) -> Iterator[tuple[str, str]]:
    name = re.sub(r"[-.]", "_", dist.metadata["Name"]).lower()
    guesses = [name, name.removesuffix("_py"), name.removeprefix("py")]
    tops = (dist.read_text("top_level.txt") or "").split() or [t for t in guesses if importlib.util.find_spec(t)][:1]
    for top in tops:
        spec = importlib.util.find_spec(top)
        if spec is None:
            continue
        for place in spec.submodule_search_locations or ():
            yield from _walk(place, top)
        if not spec.submodule_search_locations and spec.origin and spec.origin.endswith(".py"):
            yield f"{top}.py", spec.origin
