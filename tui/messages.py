"""Messages that cross from a worker's thread to the screen that started it. Nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.message import Message


class Answer(Message, bubble=False):
    """The engine answered: `then` is to be called with `value`, on the screen's side."""

    def __init__(self, question: Any, then: Callable[[Any], None], value: Any) -> None:
        super().__init__()
        self.question = question
        self.then = then
        self.value = value


class Trouble(Message, bubble=False):
    """The engine (or anything in the worker) failed: `then` is to be called with the error."""

    def __init__(self, question: Any, then: Callable[[BaseException], None], error: BaseException) -> None:
        super().__init__()
        self.question = question
        self.then = then
        self.error = error
