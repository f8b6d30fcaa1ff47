"""Building rollpoint.pyz: the program in one file that any Python from 3.11 on runs without installation."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from engine.rescue.itself import RUN_COPY

_SHEBANG = b"#!/usr/bin/env python3\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = f'''import os
import sys

if sys.version_info < (3, 11):
    sys.exit("rollpoint needs Python 3.11 or newer, this is " + sys.version.split()[0])
sys.dont_write_bytecode = True
if sys.argv[1:2] == ["{RUN_COPY}"]:
    import runpy

    copy, module = sys.argv[0], sys.argv[2]
    sys.argv = [module] + sys.argv[3:]
    try:
        runpy.run_module(module, run_name="__main__")
    finally:
        os.unlink(copy)
else:
    from tui.cli import main

    sys.exit(main())
'''


def build(files: Mapping[str, str]) -> bytes:
    """Return the bytes of a pyz that holds these files (name in it: path on disk). The same files give the same bytes.

    Raises OSError for a file that cannot be read.
    """
    out = io.BytesIO()
    out.write(_SHEBANG)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for name in sorted(files):
            with open(files[name], "rb") as file:
                _add(archive, name, file.read())
    return out.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system, info.external_attr, info.compress_type = 3, 0o100644 << 16, zipfile.ZIP_DEFLATED
    archive.writestr(info, data)
