"""The reader of vm.cfg: what it understands, what it reports, and that nothing it is given stops it."""

from __future__ import annotations

import ast
import os
import resource
import sys
import textwrap
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.vms import tokens
from engine.vms.literals import Pairs, Value
from engine.vms.statements import MAX_BYTES, Document, read
from engine.vms.tokens import MAX_NESTING, MAX_TOKENS


def values(text: str | bytes) -> dict[str, Value]:
    """What a file says, which must be free of problems."""
    document = read(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    assert document.problems == ()
    return dict(document.values)


def problems(text: str) -> list[tuple[int, str]]:
    return [(p.line, p.text) for p in read(text.encode()).problems]


# --- what it understands ---
OVM = """\
vif = ['mac=00:21:f6:00:00:01,bridge=10238073c2']
OVM_simple_name = 'O\\'Brien'
disk = ['file:/OVS/a.img,xvda,w', 'phy:/dev/mapper/3600,xvdb,w!']
OVM_high_availability = False
OVM_description = ''
exalogic_vnic = [{'pkey': ['0xffff'], 'guid': u'0x00', 'port': '1'}]
memory = 4096
cpu_cap = 0
"""


def test_a_file_of_oracle_vm() -> None:
    found = values(OVM)
    assert found["OVM_simple_name"] == "O'Brien"
    assert found["disk"] == ("file:/OVS/a.img,xvda,w", "phy:/dev/mapper/3600,xvdb,w!")
    assert found["OVM_high_availability"] is False and found["memory"] == 4096 and found["OVM_description"] == ""
    assert found["exalogic_vnic"] == (Pairs((("pkey", ("0xffff",)), ("guid", "0x00"), ("port", "1"))),)


XL = """\
# an xl file
type = "pvh"; memory=0x400
maxmem = 02000
vnuma = [ [ "pnode=0","size=1024" ], [ "pnode=1" ], ]
disk = [ "vdev=xvda,target=/a,b]#c",   # the ] and the # are part of the path
         '/dev/vg/v,,hdb',
]
vif = [ 'mac=00:16:3e:00:00:01' ]
vif += [ 'mac=00:16:3e:00:00:02' ]
extra = "a" ; extra += " b"
soundhw = "\\x41\\102\\t\\\\"
"""


def test_a_file_of_xl() -> None:
    assert values(XL) == {
        "type": "pvh", "memory": 1024, "maxmem": 1024, "vnuma": (("pnode=0", "size=1024"), ("pnode=1",)),
        "disk": ("vdev=xvda,target=/a,b]#c", "/dev/vg/v,,hdb"),
        "vif": ("mac=00:16:3e:00:00:01", "mac=00:16:3e:00:00:02"), "extra": "a b", "soundhw": "AB\t\\"}


@pytest.mark.parametrize(("text", "value"), [
    ("a = ''", ""), ("a = None", None), ("a=-1", -1), ("a=1.5", 1.5), ("a=10L", 10), ("a=0755", 0o755),
    ("a=0o17", 15), ("a='x' 'y'", "xy"), ("a=('x')", "x"), ("a=('x',)", ("x",)), ("a=()", ()), ("a={}", Pairs(())),
    ('a="""x\'",b"""', "x'\",b"), ("a='''one\ntwo'''", "one\ntwo"), ("a=r'\\x41'", "\\x41"),
    ("a='\\q\\u0041'", "\\q\\u0041"), ("a=u'\\u00e9'", "é"), ("a='\\xc3\\xa9'", "é"), ("a='\\xff'", "\udcff"),
    ("a='\\351'", "\udce9"), ("a='x\\\ny'", "xy"), ("a = \\\n 5", 5), ("\ufeffa=5", 5), ("a=[\n'x'\n,\n]", ("x",)),
    ("a=5\r\n", 5), ("\ta\t=\t5\t# five", 5), ("a=5;", 5), ("a='#;]'", "#;]"), ("a.b_c=5", 5)])
def test_values(text: str, value: Value) -> None:
    found = values(text)
    assert list(found.values()) == [value] and type(next(iter(found.values()))) is type(value)


def test_bytes_that_are_no_utf8() -> None:
    assert values(b"a = 'caf\xe9'\nb='\xc3\xa9'") == {"a": "caf\udce9", "b": "é"}
    assert os.fsencode(str(values(b"a = '/caf\xe9'")["a"])) == b"/caf\xe9"


def test_the_last_assignment_counts_and_is_noted() -> None:
    document = read(b"memory = 1\ncpus = 2\nmemory = 3\n")
    assert document.values == {"memory": 3, "cpus": 2}
    assert [(n.line, n.key) for n in document.notes] == [(3, "memory")] and "line 1" in document.notes[0].text


# --- what it reports, and goes on ---
@pytest.mark.parametrize(("text", "line", "rest"), [
    ("a = 'x\nb = 5\n", 1, {"b": 5}), ("a = ['x'\nb = 5\n", 1, {"b": 5}), ('a = """x\nb = 5\n', 1, {"b": 5}),
    ("c=1\nimport os\nb = 5\n", 2, {"c": 1, "b": 5}), ("a = os.system('x')\nb=5", 1, {"b": 5}),
    ("a = 'x' + y\nb=5", 1, {"b": 5}), ("a = ${X}\nb=5", 1, {"b": 5}), ("a = 5 6\nb=5", 1, {"b": 5}),
    ("a = ]\nb=5", 1, {"b": 5}), ("a = [)\nb=5", 1, {"b": 5}), ("a = 09\nb=5", 1, {"b": 5}), ("a =\nb=5", 1, {"b": 5}),
    ("print 'x'; b=5", 1, {"b": 5}), ("a = f(\n  b=1,\n  c=2)\nb = 5", 1, {"b": 5}),
    ("a = [x for x in y]\nb=5", 1, {"b": 5}),
    ("a = 1e999\nb=5", 1, {"b": 5}), ("a = {1, 2}\nb=5", 1, {"b": 5}), ("a = c = 5\nb=5", 1, {"b": 5}),
    ("a = 1, 2\nb=5", 1, {"b": 5}), ("a == 5\nb=5", 1, {"b": 5}), ("\0\nb=5", 1, {"b": 5}),
    ("a = `x`\nb=5", 1, {"b": 5}),
    ("a = [,]\nb=5", 1, {"b": 5}), ("a = ['x' 5]\nb=5", 1, {"b": 5}), ("a = {'x'}\nb=5", 1, {"b": 5}),
    ("a = 'x'\na += 5\nb=5", 2, {"b": 5}), ("a = --5\nb=5", 1, {"b": 5})])
def test_a_bad_statement_costs_itself_alone(text: str, line: int, rest: dict[str, Any]) -> None:
    document = read(text.encode())
    assert [p.line for p in document.problems] == [line] and dict(document.values) == rest


def test_code_is_skipped_as_a_whole() -> None:
    text = textwrap.dedent("""\
        memory = 64
        def vmid_check(var, val):
            if val < 0:
                memory = 1
            '''
        memory = 2
            '''

            # still in it
            memory = 3
        if memory: memory = 4
        else:
            memory = 5; cpus = 6
        vcpus = 2
        """)
    document = read(text.encode())
    assert dict(document.values) == {"memory": 64, "vcpus": 2}
    assert [p.line for p in document.problems] == [2, 11, 12]


def test_a_key_whose_last_assignment_is_unreadable_is_unknown() -> None:
    document = read(b"memory = 5\nmemory = int('10')\n")
    assert "memory" not in document.values and [(p.line, p.key) for p in document.problems] == [(2, "memory")]


def test_problems_hold_nothing_of_the_file() -> None:
    assert "geheim" not in str(problems("vncpasswd = 'geheim\nx = geheim\ngeheim geheim\nd = ['geheim\n"))


def test_two_depths() -> None:
    deep = "a = " + "[" * MAX_NESTING + "]" * MAX_NESTING
    assert problems(deep) == []
    assert problems("a = [" + deep[4:] + "]\nb = 5") == [(1, f"a: brackets are nested deeper than {MAX_NESTING}")]


# --- whatever the bytes ---
ALPHABET = list("ab= \n\r;#,:.'\"\\[](){}+-0159xu\t\0é\udcff") + ["'''", '"""', "disk = [", "if a:",
                                                                         "\n ", "\\\n", "a='"]


def whole(data: bytes) -> Document:
    """Read anything: it never raises, the source stays as it is, and nothing is dropped without a word."""
    document = read(data)
    assert document.source == data
    for statement in document.statements:
        if not statement.key and not statement.problem:
            rest = statement.source.decode("utf-8", "surrogateescape").replace("\\\r\n", "").replace("\\\n", "")
            lines = rest.replace("\\\r", "").replace(";", "\n").replace("\r", "\n").split("\n")
            if any("#" in line for line in lines):
                continue        # a ; in a comment
            assert all(not line.strip(" \t\f\v\ufeff") for line in lines), statement
    assert all(statement.key or statement.problem or not statement.body for statement in document.statements)
    unread = [s for s in document.statements if s.problem]
    assert len(document.problems) >= len(unread)
    count = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    assert all(1 <= statement.line <= count for statement in document.statements)
    return document


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    whole(data)


@settings(deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), max_size=60))
@example(["a='", "\\\n"])
def test_any_mixture_of_its_own_words(words: list[str]) -> None:
    whole("".join(words).encode("utf-8", "surrogateescape"))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([OVM, XL]),
       st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(ALPHABET)), max_size=6))
def test_mutations_of_real_files(text: str, changes: list[tuple[int, int, str]]) -> None:
    for at, gone, new in changes:
        text = text[:at] + new + text[at + gone:]
    whole(text.encode("utf-8", "surrogateescape"))


HOSTILE = {
    "brackets": b"a=" + b"[" * 100_000, "closed": b"a=" + b"[" * 100_000 + b"]" * 100_000,
    "apart": b"a=" + b"[ " * 100_000,
    "three quotes": b'\\"""\n' * 50_000, "quotes": b'\\"' * 120_000, "mixed quotes": (b"'''" + b'"""\n') * 30_000,
    "open lists": b"a=[\n" * 60_000, "open calls": b"a=(\n" * 60_000, "NUL": b"\0" * 250_000,
    "minus": b"a=" + b"-" * 200_000,
    "plus": b"a=" + b"+1" * 100_000, "strings": b"a=" + b"''" * 100_000, "line": b"a" * (10 << 20),
    "number": b"a=" + b"9" * 200_000, "blocks": b"def f():\n  x=1\n" * 10_000, "comments": b"#a\n" * 80_000,
    "semicolons": b";" * 250_000, "escapes": b"a='" + b"\\x41" * 60_000 + b"'", "dictionary": b"a=" + b"{'b':" * 40_000,
    "continued": b"a=\\\n" * 60_000, "added": b"a+='x'\n" * 35_000, "BOM": b"\xff\xfe" + b"a\0=\0" * 50_000}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(name: str) -> None:
    """Memory, and processor time with so wide a margin that only what is not linear exceeds it."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    document = read(HOSTILE[name])
    assert document.source == HOSTILE[name]
    assert document.problems or name in ("escapes", "continued")
    assert time.process_time() - started < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_what_is_never_closed_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look again at each of 50,000 places would take minutes."""
    found: list[int] = []

    class Counting:
        def match(self, text: str, at: int) -> None:
            found.append(at)

    monkeypatch.setitem(tokens._STRINGS, '"""', Counting())
    read(HOSTILE["three quotes"])
    assert len(found) == 1


def test_limits_say_what_was_left_out() -> None:
    many = read(b"a = 1\n" * MAX_TOKENS)
    assert many.values == {} or many.problems
    assert "the rest of the file is not read" in many.problems[-1].text
    long = read(b"a = 1 #" + b"x" * MAX_BYTES)
    assert len(long.problems) == 1 and "not read" in long.problems[0].text and not long.values
    assert read(b"a = 1 #" + b"x" * (MAX_BYTES - 7)).values == {"a": 1}


# --- Python's own reader as the judge ---
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(TEXTS | st.integers(0, 99), inner, max_size=3), max_leaves=12)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)


def plain(value: Any) -> Value:
    """A Python value as the reader gives it."""
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return Pairs(tuple((plain(key), plain(item)) for key, item in value.items()))
    assert value is None or isinstance(value, str | int | float)
    return value


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(KEYS, LITERALS, max_size=5), st.sampled_from(["\n", "\r\n", ";", " # x\n"]), st.booleans())
def test_literals_as_python_reads_them(wanted: dict[str, Any], end: str, wide: bool) -> None:
    """repr() writes u'' as Python 3 means it; the judge is ast.literal_eval on the very same text."""
    keywords = {"if", "for", "def", "try", "with", "else", "elif", "class", "while", "except", "finally"}
    wanted = {key: value for key, value in wanted.items() if key not in keywords}
    lines, judged = [], {}
    for key, value in wanted.items():
        text = _as_wide(value) if wide else repr(value)
        if not wide and "\\" in text:
            text = _as_wide(value)      # a plain string's escapes are bytes in Python 2
        judged[key] = plain(ast.literal_eval(text))
        lines.append(f"{key} = {text}{end}")
    found = values("".join(lines))
    assert found == judged
    assert [type(v) for v in found.values()] == [type(v) for v in judged.values()]


def _as_wide(value: Any) -> str:
    if isinstance(value, str):
        return "u" + repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_wide, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(_as_wide(item) + ", " for item in value) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_as_wide(key)}: {_as_wide(item)}" for key, item in value.items()) + "}"
    return repr(value)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="a1 =[](){},'\"\\#+-\nu:", max_size=25))
def test_what_is_read_without_a_word_is_what_python_reads(text: str) -> None:
    """Whatever both take as one assignment has one meaning; where Python sees code or an error, so do we, or a
    dialect that Python lacks (octal numbers, brackets on their own)."""
    source = "a = " + text
    found = read(source.encode())
    if len([s for s in found.statements if s.key or s.problem]) != 1 or found.problems:
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    assert len(tree.body) == 1 and isinstance(tree.body[0], ast.Assign)
    assert found.values["a"] == plain(ast.literal_eval(tree.body[0].value))


def test_the_reader_imports_nothing_that_executes() -> None:
    source = "".join(open(sys.modules[name].__file__ or "", encoding="utf-8").read()
                     for name in ("engine.vms.tokens", "engine.vms.literals", "engine.vms.statements"))
    called = {node.func.id for node in ast.walk(ast.parse(source.replace("from __future__ import annotations", "")))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__", "open"}


def test_reading_executes_nothing(tmp_path: Any) -> None:
    mark = tmp_path / "ran"
    read(f"import os\nos.system('touch {mark}')\na = __import__('os').mkdir('{mark}')\n"
         f"a = `open('{mark}','w')`\n".encode())
    assert not mark.exists()
