"""What the unit tests share: an /etc of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config, load
from engine.errors import ConfigError


class Etc:
    """An /etc of our own: `write` puts files in it, `load` reads them, `fails` returns what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "rollpoint/config.yaml"

    def write(self, name: str, text: str | bytes) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def load(self, text: str | bytes | None = None, **given: str | None) -> Config:
        if text is not None:
            self.write("rollpoint/config.yaml", text)
        return load(etc=str(self.path), **given)

    def fails(self, text: str | bytes | None = None, **given: str | None) -> list[str]:
        """Return the problems, the paths shortened, the message first, then the hint."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **given)
        assert caught.value.exit_code == 8
        assert "\n" not in caught.value.message + caught.value.hint
        hint = caught.value.hint.removeprefix("also: ")
        lines = [caught.value.message, *(hint.split("; ") if hint else [])]
        return [
            line.replace(f"{self.path}/", "").replace("rollpoint/config.yaml", "FILE") for line in lines
        ]


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Make files that others cannot write, or root would refuse them, whatever the umask outside."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    return Etc(folder)
