"""What goes wrong in a transaction of the catalog comes out as what it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from engine.replica.catalog import Catalog


def test_an_error_of_pythons_own_stays_what_it_is(tmp_path: Path) -> None:
    with (Catalog.create(os.fsencode(tmp_path / "catalog")) as catalog,
          pytest.raises(sqlite3.ProgrammingError, match="bindings"), catalog.transaction()):
        catalog.db.execute("SELECT ?", ())


def test_a_database_that_fails_is_not_asked_where_it_is(tmp_path: Path) -> None:
    catalog = Catalog.create(os.fsencode(tmp_path / "catalog"))
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    catalog.close()
    assert not catalog._no_inode(error)
