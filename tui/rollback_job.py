"""How the screens run a rollback: in a process and session of its own, which a lost terminal cannot stop.

`DetachedRunner` starts `python -m tui.rollback_run` through `engine.run.detach` and reads the lines it writes;
`DetachedRunner.attach` finds the one that an app which is gone has started. `ThreadRunner` does the work in this
process (tests, and where no process can be started). All are used like this: `start(verb, plan)` once, then `poll()`
as often as the screen likes, and `seen()` when the end was shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Protocol

from engine import confirmed
from engine.errors import RollpointError
from engine.events import Job, Progress
from engine.points import RestorePoint
from engine.results import Finding, RollbackPlan, RollbackResult, Verdict
from tui.rollback_registry import Registry, Run, Verb

if TYPE_CHECKING:
    from engine.config import Config
    from tui.engine_api import EngineLike


@dataclass(slots=True)
class RunState:
    """Where a rollback stands. Exactly one of `result` and `error` is set once `running` is False. `phases` are the
    engine's words for what it did so far, in their order, the last one being what it does now."""

    running: bool = True
    progress: Progress | None = None
    result: RollbackResult | None = None
    error: BaseException | None = None
    warnings: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)

    def see(self, progress: Progress) -> None:
        """Take a progress report over."""
        if not self.phases or self.phases[-1] != progress.phase:
            self.phases.append(progress.phase)
        self.progress = progress


class Runner(Protocol):
    """One run of a rollback."""

    leaving_is_safe: bool
    """Whether the app may end while it runs."""
    run: Run | None
    """What was asked for; None before the start."""

    def start(self, verb: Verb, plan: RollbackPlan | None = None, *, safety_point: bool = True) -> None:
        """Begin: ``rollback`` carries out `plan`, after a safety point or without; ``resume`` and ``undo`` are about
        the interrupted one.

        Raises RollpointError or OSError when it cannot."""

    def poll(self) -> RunState:
        """Return where it stands; quick, called from the screen."""

    def seen(self) -> None:
        """The end was shown: it need not be shown again at the next start."""

    @property
    def where(self) -> str:
        """Who does it, for people: ``process 123, log /run/...``."""


class ThreadRunner:
    """Rolls back in a thread of this process. The thread is no daemon: the process ends only after it."""

    leaving_is_safe = False

    def __init__(self, engine: EngineLike) -> None:
        self.run: Run | None = None
        self._engine = engine
        self._state = RunState()
        self._job = Job(on_progress=self._state.see)

    def start(self, verb: Verb, plan: RollbackPlan | None = None, *, safety_point: bool = True) -> None:
        """Begin."""
        self.run = Run.of(verb, plan, safety_point=safety_point)
        threading.Thread(target=self._work, args=(verb, plan, safety_point), name=verb).start()

    def _work(self, verb: Verb, plan: RollbackPlan | None, safety_point: bool) -> None:
        try:
            self._state.result = carry_out(self._engine, verb, plan, self._job, safety_point=safety_point)
        except BaseException as error:  # a thread has nobody else to tell
            self._state.error = error
        self._state.running = False

    def poll(self) -> RunState:
        """Return where it stands."""
        self._state.warnings = self._job.warnings
        return self._state

    def seen(self) -> None:
        """Nothing of it is left anywhere."""

    @property
    def where(self) -> str:
        """This process."""
        return f"process {os.getpid()}"


class DetachedRunner:
    """Rolls back in a process of its own session, which gets this very configuration in a file."""

    leaving_is_safe = True

    def __init__(self, config: Config) -> None:
        self.run: Run | None = None
        self._config = config
        self._registry = Registry(config.store)
        self._state = RunState()
        self._pid = 0
        self._log: IO[bytes] | None = None
        self._tail = b""

    @classmethod
    def attach(cls, config: Config) -> DetachedRunner | None:
        """Return the runner of this store's rollback that is under way, or whose end nobody has seen; None where
        there is no such one."""
        runner = cls(config)
        runner.run = runner._registry.read() or runner._registry.adopt()
        if runner.run is None:
            return None
        if not runner._registry.held() and not os.path.exists(runner._registry.log):
            runner.seen()       # whoever wanted to start it was gone before the process was there
            return None
        return runner

    def start(self, verb: Verb, plan: RollbackPlan | None = None, *, safety_point: bool = True) -> None:
        """Begin: write the order, start the process."""
        self._start(Run.of(verb, plan, safety_point=safety_point),
                    make_order(self._config, verb, plan, safety_point=safety_point))

    def start_order(self, order: dict[str, Any]) -> None:
        """Begin what was ordered for this boot."""
        self._start(Run("rollback", int(order["number"]), tuple(order["scope"]), bool(order["safety_point"]),
                        *Run.now()), order)

    def _start(self, run: Run, order: dict[str, Any]) -> None:
        from engine.rescue.itself import module_argv
        from engine.run import detach

        registry = self._registry
        with registry.claimed() as lock:
            registry.begin(run, order)
            try:
                argv = [*module_argv("tui.rollback_run", os.path.dirname(registry.order)), registry.order]
                self._pid = detach(argv, registry.log, (lock,))
            except OSError:
                registry.forget(run)
                raise
        self.run = run

    def seen(self) -> None:
        """Let the record go; the log stays until the next run."""
        self._registry.forget(self.run)

    @property
    def where(self) -> str:
        """The process and where it writes to."""
        return f"process {self._pid or 'not known'}, log {self._registry.log}"

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
        if self._pid:
            with contextlib.suppress(ChildProcessError):    # that of another app, or waited for already
                os.waitpid(self._pid, os.WNOHANG)
        return self._registry.held()

    def _new_lines(self) -> list[bytes]:
        """Read on in the very file that was the log when this began: a later run has one of its own."""
        try:
            if self._log is None:
                self._log = open(self._registry.log, "rb")
            data = self._log.read()
        except OSError:
            return []
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
                self._state.see(Progress(current=current, **values))
        elif "pid" in said:
            self._pid = int(said["pid"])
        elif "warning" in said:
            self._state.warnings.append(str(said["warning"]))
        elif "error" in said:
            self._state.error = error = RollpointError(str(said["error"]), hint=str(said.get("hint", "")))
            error.exit_code = int(said.get("code", error.exit_code))
        elif "result" in said:
            self._state.result = result_of(said["result"])

    def _last_words(self) -> str:
        return f": {self._state.warnings[-1]}" if self._state.warnings else ""


def carry_out(engine: EngineLike, verb: Verb, plan: RollbackPlan | None, job: Job, *, safety_point: bool = True
              ) -> RollbackResult:
    """Do what a runner was told to."""
    if verb == "rollback":
        assert plan is not None
        return engine.rollback(plan, job, safety_point=safety_point)
    return engine.resume(job) if verb == "resume" else engine.undo(job)


def make_order(config: Config, verb: Verb, plan: RollbackPlan | None, *, safety_point: bool = True) -> dict[str, Any]:
    """Return what the other process has to know, as JSON: the whole configuration, the point, the scope, what
    the plan has shown (engine/confirmed.py), and whether a safety point is taken."""
    settings = asdict(config)
    settings.pop("notes", None)
    settings["origins"] = dict(config.origins)
    order: dict[str, Any] = {"config": settings, "verb": verb, "safety_point": safety_point}
    if plan is None:
        return order
    return order | {"point": plan.point.id, "number": plan.point.number, "scope": list(plan.scope), "adopt": plan.adopt,
                    "merged": [p.hex() for p in plan.merged],
                    "confirmed": confirmed.seal(plan).document()}


def write_result(result: RollbackResult) -> dict[str, Any]:
    """Return a result as JSON; points by id, number and backend only."""
    safety = result.safety_point
    return {"point": _named(result.point), "applied": result.applied,
            "verified": result.verified, "differences": list(result.differences), "seconds": result.seconds,
            "safety_point": _named(safety) if safety else None,
            "boot": asdict(result.boot) if result.boot else None, "boot_applied": list(result.boot_applied),
            "reboot": list(result.reboot), "adjusted": list(result.adjusted)}


def result_of(said: dict[str, Any]) -> RollbackResult:
    """Return the result that `write_result` wrote; of its points only id, number and backend are known."""
    safety = said["safety_point"]
    return RollbackResult(_point(said["point"]), _point(safety) if safety else None, int(said["applied"]),
                          bool(said["verified"]), tuple(map(str, said["differences"])), float(said["seconds"]),
                          _verdict(said.get("boot")), tuple(map(str, said.get("boot_applied", ()))),
                          tuple(map(str, said.get("reboot", ()))), tuple(map(str, said.get("adjusted", ()))))


def _verdict(said: dict[str, Any] | None) -> Verdict | None:
    if said is None:
        return None
    findings = tuple(Finding(str(f["level"]), str(f["text"]), str(f["hint"])) for f in said["findings"])
    return Verdict(str(said["answer"]), findings, str(said["kernel"]))


def _point(said: dict[str, Any]) -> RestorePoint:
    return RestorePoint(str(said["id"]), str(said.get("backend", "replica")), int(said["number"]), datetime.now(UTC))


def _named(point: RestorePoint) -> dict[str, Any]:
    return {"id": point.id, "number": point.number, "backend": point.backend}
