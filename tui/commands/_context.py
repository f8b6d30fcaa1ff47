"""What every verb gets: the options, the output, the configuration and the engine (made when first used),
and jobs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from engine.errors import RollpointError

if TYPE_CHECKING:
    from engine.config import Config
    from engine.events import Job
    from engine.lister import Lister
    from engine.points import RestorePoint
    from engine.service import Engine
    from tui.output import Output

L = TypeVar("L", bound="Lister")


@dataclass(frozen=True, slots=True)
class Options:
    """The global options, which may stand before or after the COMMAND."""

    config: str | None = None
    store: str | None = None
    root: str | None = None
    as_json: bool = False
    verbose: int = 0
    quiet: bool = False


class Context:
    """One run of one verb.

    `partial` holds keys that the JSON document has beside "error" when the verb fails (the plan, for
    example). `jobs` counts the long works done (their warnings then belong into the document, also when
    there are none). `announce` is off for the verbs that deal with an interrupted rollback themselves.
    """

    def __init__(self, options: Options, out: Output) -> None:
        self.options = options
        self.out = out
        self.warnings: list[str] = []
        self.partial: dict[str, Any] = {}
        self.announce = True
        self.backend: str | None = None     # whose `latest` is meant
        self.jobs = 0

    @cached_property
    def config(self) -> Config:
        """The configuration; what it says about itself (notes) goes to stderr once."""
        from engine.config import load

        config = load(self.options.config, self.options.store, self.options.root)
        for note in config.notes:
            self.out.note(note)
        return config

    @cached_property
    def engine(self) -> Engine:
        """The engine. A rollback that was interrupted or is ordered is announced on stderr when it is first used."""
        from engine.service import Engine

        return self._announced(Engine(self.config))

    @cached_property
    def lister(self) -> Lister:
        """What lists points and can do nothing else: who needs no more does not wait until all the rest is read in."""
        from engine.lister import Lister

        return self._announced(Lister(self.config))

    def _announced(self, asked: L) -> L:
        if self.announce:
            self._announce(asked)
        return asked

    def _announce(self, asked: Lister) -> None:
        try:
            state, ordered = asked.interrupted(), asked.ordered()
        except RollpointError as error:
            self.out.debug(f"no status: {error.message}")     # the verb itself will say what is wrong
            return
        if ordered:
            self.out.note(f"attention: {ordered}. `rollpoint rollback --undo` takes the order back.")
        if state:
            self.out.note(f"attention: a rollback was interrupted ({state}). `rollpoint rollback --resume` "
                          "finishes it, `rollpoint rollback --undo` takes it back.")

    def resolve(self, spec: str) -> RestorePoint:
        """Return the point that an admin named; raises UsageError. ``latest`` is that of the backend chosen."""
        if self.backend is not None and spec == "latest":
            from tui.commands._args import check_backend

            check_backend(self.backend)
            return self.engine.resolve(spec, self.backend)
        return self.engine.resolve(spec)

    def warn(self, sentence: str) -> None:
        """Write a warning to stderr and remember it: it makes the exit code 3."""
        self.warnings.append(sentence)
        self.out.warn(sentence)

    @contextmanager
    def job(self, *, outlives_terminal: bool = False, keep_output: bool = True) -> Iterator[Job]:
        """Yield a job that shows its progress and stops on Ctrl-C, SIGTERM and a lost terminal.

        The first signal asks for a clean stop; later ones only say that it is under way. With
        `outlives_terminal` SIGHUP is ignored, so that an SSH line that drops does not stop the work. Unless
        `keep_output` is False, a lost reader of our output does not stop it either. Warnings of the job make
        the exit code 3.
        """
        from engine.events import Job

        self.jobs += 1
        job = Job(on_progress=self.out.progress, on_warning=self.out.warn)
        self.out.must_finish = self.out.must_finish or keep_output
        try:
            with _signals(job, outlives_terminal):
                yield job
        finally:
            self.out.progress.clear()
            self.warnings += job.warnings


@contextmanager
def _signals(job: Job, ignore_hangup: bool) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP stop the job cleanly while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield                       # only the main thread may set handlers
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        again = job.cancelled
        job.cancel()
        line = b"still stopping cleanly; please wait\n" if again else b"stopping; please wait\n"
        try:
            os.write(2, b"\r\x1b[K" * os.isatty(2) + line)     # not the buffered stream: we may be inside it
        except OSError:
            return

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for number, handler in before.items():
            if number == signal.SIGHUP and (ignore_hangup or handler is signal.SIG_IGN):
                signal.signal(number, signal.SIG_IGN)
            else:
                signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
