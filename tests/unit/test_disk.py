"""Reading attributes: what vanished is passed over, what cannot be read is an error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.replica.disk import read_xattrs


def _broken(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def getxattr(*_: object, **__: object) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["user.one"])
    monkeypatch.setattr(os, "getxattr", getxattr)


@pytest.mark.parametrize("code", [errno.ENODATA, errno.EACCES])
def test_an_attribute_that_has_vanished_or_is_not_ours_to_read_is_none(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _broken(monkeypatch, code)
    assert read_xattrs(os.fsencode(tmp_path)) == ()


@pytest.mark.parametrize("code", [errno.EIO, errno.E2BIG, errno.ERANGE])
def test_an_attribute_that_cannot_be_read_is_not_passed_over(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _broken(monkeypatch, code)
    with pytest.raises(OSError) as caught:
        read_xattrs(os.fsencode(tmp_path))
    assert caught.value.errno == code
