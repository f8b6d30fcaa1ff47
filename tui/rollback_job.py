"""How the screens run a rollback: in a process and session of its own, which a lost terminal cannot stop.

`DetachedRunner` starts `python -m tui.rollback_run` through `engine.run.detach` and reads the lines it writes;
`ThreadRunner` does the work in this process (tests, and where no process can be started). Both are used like this:
`start(verb, plan)` once, then `poll()` as often as the screen likes.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from engine.errors import RollpointError
from engine.events import Job, Progress
from engine.points import RestorePoint
from engine.results import RollbackPlan, RollbackResult

if TYPE_CHECKING:
    from engine.config import Config
    from tui.engine_api import EngineLike


Verb = Literal["rollback", "resume", "undo"]


@dataclass(slots=True)
class RunState:
    """Where a rollback stands. Exactly one of `result` and `error` is set once `running` is False."""

    running: bool = True
    progress: Progress | None = None
    result: RollbackResult | None = None
    error: BaseException | None = None
    warnings: list[str] = field(default_factory=list)


class Runner(Protocol):
    """One run of a rollback."""

    leaving_is_safe: bool
    """Whether the app may end while it runs."""

    def start(self, verb: Verb, plan: RollbackPlan | None = None) -> None:
        """Begin: ``rollback`` carries out `plan`; ``resume`` and ``undo`` are about the interrupted one.

        Raises RollpointError or OSError when it cannot."""

    def poll(self) -> RunState:
        """Return where it stands; quick, called from the screen."""

    @property
    def where(self) -> str:
        """Who does it, for people: ``process 123, log /run/...``."""


class ThreadRunner:
    """Rolls back in a thread of this process. The thread is no daemon: the process ends only after it."""

    leaving_is_safe = False

    def __init__(self, engine: EngineLike) -> None:
        self._engine = engine
        self._state = RunState()
        self._job = Job(on_progress=self._see)

    def start(self, verb: Verb, plan: RollbackPlan | None = None) -> None:
        """Begin."""
        threading.Thread(target=self._run, args=(verb, plan), name=verb).start()

    def _see(self, progress: Progress) -> None:
        self._state.progress = progress

    def _run(self, verb: Verb, plan: RollbackPlan | None) -> None:
        try:
            self._state.result = carry_out(self._engine, verb, plan, self._job)
        except BaseException as error:  # a thread has nobody else to tell
            self._state.error = error
        self._state.running = False

    def poll(self) -> RunState:
        """Return where it stands."""
        self._state.warnings = list(self._job.warnings)
        return self._state

    @property
    def where(self) -> str:
        """This process."""
        return f"process {os.getpid()}"


class DetachedRunner:
    """Rolls back in a process of its own session, which gets this very configuration in a file."""

    leaving_is_safe = True

    def __init__(self, config: Config) -> None:
        self._config = config
        self._state = RunState()
        self._pid = 0
        self._log = ""
        self._read = 0
        self._tail = b""

    def start(self, verb: Verb, plan: RollbackPlan | None = None) -> None:
        """Begin: write the order, start the process."""
        from engine.rescue.itself import module_argv
        from engine.run import detach

        name = f"{verb}-{plan.point.id}" if plan else verb
        order = os.path.join(run_directory(), f"{name}-{os.getpid()}.json")
        self._log = order.removesuffix(".json") + ".log"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._log)
        with open(os.open(order, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            json.dump(make_order(self._config, verb, plan), file)
        self._pid = detach([*module_argv("tui.rollback_run", os.path.dirname(order)), order], self._log)

    @property
    def where(self) -> str:
        """The process and where it writes to."""
        return f"process {self._pid}, log {self._log}"

    def poll(self) -> RunState:
        """Read what the process wrote since the last time, and look whether it still runs."""
        if not self._state.running:
            return self._state
        alive = self._alive()       # before reading: what it wrote last is then read for sure
        for line in self._new_lines():
            self._take(line)
        if self._state.result is None and self._state.error is None and not alive:
            self._state.error = RollpointError(
                f"the rollback's process ended without a result{self._last_words()}",
                hint="press R on the list of points: an interrupted rollback can be resumed or undone")
        self._state.running = self._state.result is None and self._state.error is None
        return self._state

    def _alive(self) -> bool:
        try:
            return os.waitpid(self._pid, os.WNOHANG)[0] == 0
        except ChildProcessError:       # somebody else has waited for it already
            return False

    def _new_lines(self) -> list[bytes]:
        try:
            with open(self._log, "rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        self._read += len(data)
        *whole, self._tail = (self._tail + data).split(b"\n")
        return whole

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            self._state.warnings.append(line.decode("utf-8", "backslashreplace"))
        elif "progress" in said:
            values: dict[str, Any] = said["progress"]
            current = os.fsencode(str(values.pop("current", "")))
            with contextlib.suppress(TypeError):
                self._state.progress = Progress(current=current, **values)
        elif "warning" in said:
            self._state.warnings.append(str(said["warning"]))
        elif "error" in said:
            self._state.error = RollpointError(str(said["error"]), hint=str(said.get("hint", "")))
        elif "result" in said:
            self._state.result = result_of(said["result"])

    def _last_words(self) -> str:
        return f": {self._state.warnings[-1]}" if self._state.warnings else ""


def carry_out(engine: EngineLike, verb: Verb, plan: RollbackPlan | None, job: Job) -> RollbackResult:
    """Do what a runner was told to."""
    if verb == "rollback":
        assert plan is not None
        return engine.rollback(plan, job)
    return engine.resume(job) if verb == "resume" else engine.undo(job)


def make_order(config: Config, verb: Verb, plan: RollbackPlan | None) -> dict[str, Any]:
    """Return what the other process has to know, as JSON: the whole configuration, the point, the scope."""
    settings = asdict(config)
    settings.pop("notes", None)
    settings["origins"] = dict(config.origins)
    order: dict[str, Any] = {"config": settings, "verb": verb}
    return order | {"point": plan.point.id, "scope": list(plan.scope)} if plan else order


def write_result(result: RollbackResult) -> dict[str, Any]:
    """Return a result as JSON; points by id and number only."""
    safety = result.safety_point
    return {"point": {"id": result.point.id, "number": result.point.number}, "applied": result.applied,
            "verified": result.verified, "differences": list(result.differences), "seconds": result.seconds,
            "safety_point": {"id": safety.id, "number": safety.number} if safety else None}


def result_of(said: dict[str, Any]) -> RollbackResult:
    """Return the result that `write_result` wrote; of its points only id and number are known."""
    safety = said["safety_point"]
    return RollbackResult(_point(said["point"]), _point(safety) if safety else None, int(said["applied"]),
                          bool(said["verified"]), tuple(map(str, said["differences"])), float(said["seconds"]))


def _point(said: dict[str, Any]) -> RestorePoint:
    return RestorePoint(str(said["id"]), "replica", int(said["number"]), datetime.now(UTC))


def run_directory() -> str:
    """Return a directory of ours alone for orders and logs, outside of everything a rollback touches."""
    base = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    if base and os.path.isdir(base):
        path = os.path.join(base, "rollpoint")
        with contextlib.suppress(OSError):
            os.makedirs(path, mode=0o700, exist_ok=True)
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
                return path
    return tempfile.mkdtemp(prefix="rollpoint-")
