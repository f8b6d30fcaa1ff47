"""The threads in which the engine is asked. One that never comes back (a dead NFS server, a disk that hangs) must not
keep the program from ending: Python's own executor waits for all of its threads, for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class AskThreads(ThreadPoolExecutor):
    """A thread for each call, none of which the end of the program waits for; see `join`."""

    def __init__(self) -> None:
        super().__init__(1)
        self._threads_alive: set[threading.Thread] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` in a new thread."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # the caller's, whatever it is
                future.set_exception(error)

        thread = threading.Thread(target=run, daemon=True, name="ask")
        self._threads_alive = {each for each in self._threads_alive if each.is_alive()} | {thread}
        thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: asyncio calls this when the app ends, and would wait."""

    def join(self, seconds: float) -> bool:
        """Wait at most so long for all threads to end; return whether they have."""
        end = time.monotonic() + seconds
        for thread in self._threads_alive:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads_alive)
