"""What `compare` says about two states of one path: status, words, and nothing where nothing differs."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.entries import FORMATS, Change, Diff, Entry, Kind, Status, compare

FILE = Entry(b"etc/hosts", Kind.FILE, 0o644, 0, 0, 1_000_000_001, size=10)
LINK = Entry(b"etc/mtab", Kind.LINK, 0o777, 0, 0, 5, target=b"../proc/mounts")
DEVICE = Entry(b"dev/sda", Kind.BLOCK, 0o660, 0, 6, 5, rdev=2048)
FOLDER = Entry(b"etc", Kind.DIR, 0o755, 0, 0, 5)
ACL = (b"system.posix_acl_access", b"\2\0")
CAP = (b"security.capability", b"\1\0")


@pytest.mark.parametrize(
    ("old", "changed", "status", "what"),
    [
        (FILE, {"size": 11}, Status.CHANGED, ("content", "size")),
        (FILE, {"size": 11, "mtime": 9}, Status.CHANGED, ("content", "size", "mtime")),
        (FILE, {"mtime": 1_000_000_002}, Status.CHANGED, ("content", "mtime")),
        (FILE, {"mode": 0o600}, Status.ATTRS, ("mode",)),
        (FILE, {"uid": 1, "gid": 2}, Status.ATTRS, ("owner", "group")),
        (FILE, {"xattrs": (CAP,)}, Status.ATTRS, ("xattrs",)),
        (FILE, {"xattrs": (ACL,)}, Status.ATTRS, ("acl",)),
        (FILE, {"xattrs": (CAP, ACL)}, Status.ATTRS, ("acl", "xattrs")),
        (FOLDER, {"mtime": 6}, Status.ATTRS, ("mtime",)),
        (LINK, {"target": b"x"}, Status.CHANGED, ("target",)),
        (LINK, {"mtime": 6}, Status.ATTRS, ("mtime",)),
        (DEVICE, {"rdev": 2049}, Status.CHANGED, ("device",)),
        (DEVICE, {"mode": 0o600}, Status.ATTRS, ("mode",)),
    ],
)
def test_what_differs_is_named(
    old: Entry, changed: dict[str, object], status: Status, what: tuple[str, ...]
) -> None:
    new = replace(old, **changed)  # type: ignore[arg-type]
    assert compare(old, new) == Change(old.path, status, old, new, what)
    back = compare(new, old)
    assert back is not None and (back.status, back.what) == (status, what)


def test_an_xattr_that_changes_its_value_or_goes_is_a_change() -> None:
    old = replace(FILE, xattrs=(CAP, ACL))
    changed = compare(old, replace(FILE, xattrs=((CAP[0], b"other"), ACL)))
    assert changed is not None and changed.what == ("xattrs",)
    gone = compare(old, replace(FILE, xattrs=(CAP,)))
    assert gone is not None and gone.what == ("acl",)


def test_checksums_decide_where_both_are_known() -> None:
    old = replace(FILE, csum=b"aa")
    touched = compare(old, replace(old, mtime=7))
    assert touched is not None and (touched.status, touched.what) == (Status.ATTRS, ("mtime",))
    edited = compare(old, replace(old, csum=b"bb"))
    assert edited is not None and (edited.status, edited.what) == (Status.CHANGED, ("content",))
    half_known = compare(old, replace(old, csum=b"", mtime=7))
    assert half_known is not None and half_known.status is Status.CHANGED
    assert compare(old, replace(old, csum=b"")) is None


def test_what_is_new_or_gone() -> None:
    assert compare(None, FILE) == Change(FILE.path, Status.CREATED, None, FILE)
    assert compare(FILE, None) == Change(FILE.path, Status.DELETED, FILE, None)
    assert compare(None, None) is None
    gone = compare(LINK, None)
    assert gone is not None and gone.kind is Kind.LINK


def test_another_type_is_said_before_all_else() -> None:
    new = replace(LINK, path=FILE.path, uid=3)
    change = compare(FILE, new)
    assert change == Change(FILE.path, Status.TYPE, FILE, new, ("type",))
    assert change is not None and change.kind is Kind.LINK


ENTRIES = st.builds(
    Entry,
    path=st.just(b"x"),
    kind=st.sampled_from(Kind),
    mode=st.sampled_from([0o644, 0o755]),
    uid=st.integers(0, 1),
    gid=st.integers(0, 1),
    mtime=st.integers(0, 1),
    size=st.integers(0, 1),
    rdev=st.integers(0, 1),
    target=st.sampled_from([b"", b"t"]),
    xattrs=st.sampled_from([(), (CAP,), (ACL,), (CAP, ACL)]),
    link=st.none(),
    csum=st.sampled_from([b"", b"a", b"b"]),
)


@given(ENTRIES, ENTRIES)
def test_compare_is_fair_to_both_sides(old: Entry, new: Entry) -> None:
    there, back = compare(old, new), compare(new, old)
    assert (there is None) is (back is None)
    if there is not None and back is not None:
        assert (there.status, there.what) == (back.status, back.what)
        assert there.what and len(set(there.what)) == len(there.what)
    else:
        assert replace(old, csum=b"") == replace(new, csum=b"")


@given(ENTRIES)
def test_nothing_differs_from_itself(entry: Entry) -> None:
    assert compare(entry, entry) is None
    assert compare(entry, replace(entry)) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_and_its_mode_belong_together(kind: Kind) -> None:
    entry = replace(FILE, kind=kind)
    assert Kind.of(entry.st_mode) is kind
    assert stat.S_IMODE(entry.st_mode) == 0o644 and stat.S_IFMT(entry.st_mode) == FORMATS[kind]


def test_names() -> None:
    assert FILE.name == b"hosts" and FOLDER.name == b"etc" and replace(FOLDER, path=b"").name == b""


def test_a_diff_counts_paths_and_bytes() -> None:
    bigger, moved = replace(FILE, size=25), replace(FILE, path=b"b", mode=0o600)
    changes = [
        compare(FILE, bigger),
        compare(replace(FILE, path=b"b"), moved),
        compare(None, replace(FILE, path=b"c")),
        compare(replace(FILE, path=b"d", size=7), None),
    ]
    diff = Diff("a", "live", tuple(c for c in changes if c is not None))
    assert [diff.count(s) for s in Status] == [1, 1, 1, 0, 1]
    assert (diff.bytes_new, diff.bytes_old) == (35, 17), (
        "a file whose attributes alone changed moves no bytes"
    )
