"""A small real tree and a store beside it, for the tests of the command line above the real engine."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run
from tests.cli.fake_engine import HOSTILE

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


class Tree:
    """A small tree, a store beside it, and the command line for both."""

    def __init__(self, base: Path, run: Run) -> None:
        self.base, self._run = base, run
        self.root, self.store = base / "root", base / "store"
        (self.root / "etc").mkdir(parents=True)
        (self.root / "db").mkdir()
        (self.root / "db" / "data").write_text("live database")
        (self.root / "etc" / "database_locations").write_text("/db\n")
        (self.root / "etc" / "hosts").write_text("one\ntwo\n")
        (self.root / "names").mkdir()
        for name in HOSTILE:
            with open(os.fsencode(self.root / "names") + b"/" + name, "wb") as file:
                file.write(name)

    def __call__(self, *words: str) -> Ran:
        return self._run(*words)

    def point(self, comment: str = "") -> str:
        """Take a point and return its id."""
        ran = self("snapshot", "-m", comment, "--json")
        assert ran.code == 0, ran.err
        return str(ran.document["id"])

    def hosts(self) -> str:
        """Return the file that the points differ in."""
        return (self.root / "etc" / "hosts").read_text()

    def edit(self, text: str) -> None:
        """Write it."""
        (self.root / "etc" / "hosts").write_text(text)

    def seal(self, name: str, old: str, new: str) -> None:
        """Change a sealed document of the store as whoever wrote it would have."""
        path = self.store / name
        text = path.read_text().rpartition("# sha256: ")[0]
        assert re.search(old, text)
        text = re.sub(old, new, text)
        path.write_text(f"{text}# sha256: {hashlib.sha256(text.encode()).hexdigest()}\n")


def names_in(rows: list[dict[str, str]]) -> set[bytes]:
    """Return the paths of JSON rows as the bytes they are on the disk."""
    return {base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode()[1:]
            for row in rows}
