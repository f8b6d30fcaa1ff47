"""The house rules that nobody should have to check by hand: layers, sizes, one door to programs."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from tests.engine.harness import CHECKOUT, child_env

MODULES = sorted(["engine", *(m.name for m in pkgutil.walk_packages(engine.__path__, "engine."))])
SOURCES = sorted(Path(CHECKOUT, "engine").rglob("*.py"))
TEST_SOURCES = sorted(Path(CHECKOUT, "tests").rglob("*.py"))
MODULE_LINES = 400
MODULE_LINES_AT_MOST = 450
FUNCTION_STATEMENTS = 45
PROBE = """
import importlib, sys
importlib.import_module(sys.argv[1])
bad = sorted(m for m in sys.modules if m.partition(".")[0] in ("textual", "rich", "tui"))
sys.exit("it pulls in " + ", ".join(bad) if bad else 0)
"""


def _name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("module", MODULES)
def test_no_user_interface_comes_with_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, module], cwd=CHECKOUT, env=child_env(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_front_door_is_light() -> None:
    """A verb must not pay for what it does not need: none of these is imported before it is used."""
    code = "import sys, engine.service; print(*set(sys.argv[1:]) & set(sys.modules))"
    argv = [sys.executable, "-c", code, "sh", "yaml", "asyncio", "hypothesis"]
    done = subprocess.run(argv, cwd=CHECKOUT, env=child_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("backend", ["", "lvm"])
def test_a_list_of_points_does_not_wait_for_all_the_rest(tmp_path: Path, backend: str) -> None:
    """`rollpoint list` is what is typed most, and reading modules in is most of its time: it needs no rollback, no boot
    pieces, nothing of virtual machines."""
    config = tmp_path / "config.yaml"
    config.write_text("lvm: {volumes: [no-such/volume]}\n" if backend else "{}\n")
    config.chmod(0o644)
    code = ("import sys; from tui.cli import main; main(sys.argv[1:]); "
            "print(*sorted(m for m in sys.modules if m.startswith(('engine.', 'tui.'))))")
    argv = [sys.executable, "-c", code, "-q", "--config", str(config), "--store", str(tmp_path / "none"), "--root",
            str(tmp_path), "list"]
    done = subprocess.run(argv, cwd=CHECKOUT, env=child_env(), capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"engine.lister", "engine.config"} <= loaded, done.stderr
    assert ("engine.volumes.lvm" in loaded) is bool(backend)
    parts = ("engine.service", "engine.reading", "engine.storage", "engine.rollback", "engine.vms", "engine.rescue",
             "engine.vmpoints", "engine.replica.snapshot", "engine.replica.query", "engine.machine.boot", "engine.demo")
    assert sorted(name for name in loaded if name.startswith(parts)) == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_only_one_module_starts_programs(path: Path) -> None:
    if path.name == "run.py":
        return
    starts = {"subprocess", "pty", "multiprocessing", "sh"}
    calls = {
        "system",
        "popen",
        "posix_spawn",
        "posix_spawnp",
        "execv",
        "execve",
        "execvp",
        "execvpe",
        "execl",
    }
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        assert not starts & set(names), f"{_name(path)}:{getattr(node, 'lineno', 0)} imports {names}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in calls, f"{_name(path)}:{node.lineno} calls os.{node.attr}"


@pytest.mark.parametrize("path", SOURCES + TEST_SOURCES, ids=_name)
def test_modules_and_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MODULE_LINES_AT_MOST, f"{_name(path)}: aim at {MODULE_LINES} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
            assert count <= FUNCTION_STATEMENTS, (
                f"{_name(path)}:{node.lineno} {node.name} has {count} statements"
            )


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_every_public_function_says_what_it_does(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or path.name == "__init__.py", f"{_name(path)} does not say what it is"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{_name(path)}:{node.lineno} {node.name} has no docstring"
