"""What a snapshot knows of itself: encoded into tags that LVM takes, and read back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.volumes.lvmtags import MOST_COMMENT, Label, changeable, cut, read, written

# lvm(8), "Valid names": tags; and the length that every version takes.
_ALLOWED = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.\-/=!:#&]{0,126}")
_TEXT = st.text(st.characters(exclude_characters="\n"), max_size=120)


@given(_TEXT, st.lists(_TEXT.filter(bool), max_size=3), st.one_of(st.none(), st.binary(max_size=200)), st.booleans())
def test_what_is_written_is_read_and_lvm_takes_it(comment: str, tags: list[str], place: bytes | None, pinned: bool
                                                  ) -> None:
    label = Label("2026-11-20_17-20-22-lvm", "root-rp-1", "root", place, comment, tuple(tags), pinned, "manual")
    tags_written = written(label)
    for tag in tags_written:
        assert _ALLOWED.fullmatch(tag), tag
    # lvs sorts them by name.
    assert read(sorted([*tags_written, "mine", "rollpointless"])) == label


def test_what_an_admin_sees_of_it() -> None:
    label = Label("2026-11-20_17-20-22-lvm", "root-rp-20261120-172022", "root", b"", "before: upgrade", ("a", "b"),
                  pinned=True)
    assert written(label) == [
        "rollpoint.id=2026-11-20_17-20-22-lvm", "rollpoint.name=root-rp-20261120-172022", "rollpoint.origin=root",
        "rollpoint.place=/", "rollpoint.tags=a+0ab", "rollpoint.comment=before:+20upgrade", "rollpoint.pinned"]


def test_other_tags_are_nobodys_label() -> None:
    assert read([]) is None and read(["mine", "rollpoint", "rollpointer.id=x"]) is None
    assert read(["rollpoint.pinned"]) == Label(pinned=True)
    assert read(["rollpoint.comment=+zz+2", "rollpoint.later=1"]) == Label(comment="+zz+2")


def test_a_comment_of_any_length_has_an_end() -> None:
    assert cut("x" * MOST_COMMENT) == "x" * MOST_COMMENT
    long = cut("ü" * MOST_COMMENT)
    assert long.endswith("ü…") and len(long.encode()) <= MOST_COMMENT
    assert changeable("", pinned=False) == []
    assert [t.split("=")[0] for t in changeable("x" * 200, pinned=True)] == [
        "rollpoint.comment", "rollpoint.comment.1", "rollpoint.comment.2", "rollpoint.pinned"]


@pytest.mark.parametrize("place", [b"", b"home", b"srv/a b", b"no utf-8 \xff\n"])
def test_a_place_is_any_bytes(place: bytes) -> None:
    found = read(written(Label("i", "n", "o", place)))
    assert found is not None and found.place == place
