"""The part of the list of points that asks the storage. Its points come when its tools have answered: the store's are
shown meanwhile, and a tool that hangs keeps nobody from them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.backends import Listing, Trouble
from engine.dispatch import REPLICA
from engine.errors import RollpointError
from engine.points import RestorePoint
from tui.screens.actions import PointActions
from tui.storagewords import Levels
from tui.text import safe

TURNS = 6
"""Every so many looks at the store the storage is asked too, when nobody does anything: its tools cost more."""


class StorageWatch(PointActions):
    """Points of the store (`kept`) and of the storage (`found`) in one list; how full the storage is; one kind alone.
    What shows them is the subclass's."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[RestorePoint] = []
        self.kept: list[RestorePoint] = []
        self.found = Listing(())
        self.levels: Levels = ([], [], [])
        self.kind = ""          # the backend whose points alone are shown, "" for all
        self.kinds: list[str] = []
        self.answered = False   # whether the storage has, once
        self._asking = False
        self._ask_again = self._asking_levels = False
        self._turn = 0

    def show_all(self) -> None:
        """Show what is known now."""
        raise NotImplementedError

    def merge(self) -> None:
        """Put the points together, newest first, and see of which kinds they are."""
        self.points = sorted([*self.kept, *self.found.points],
                             key=lambda p: (p.created, p.newest, p.number, p.id), reverse=True)
        self.kinds = sorted({p.backend for p in self.points}, key=lambda kind: (kind != REPLICA, kind))
        if self.kind not in self.kinds:
            self.kind = ""

    # --- asking --------------------------------------------------------------------------------------------------

    def ask_storage(self) -> None:
        """Ask for its points, and how full it is; one question of each at a time, however long it takes."""
        self._turn = 0
        engine = self.rollpoint.engine
        if self._asking:
            self._ask_again = True      # what is being read now may be older than what has just been done
        else:
            self._asking, self._ask_again = True, False
            self.ask("storage", engine.storage_points, self._listed, self._unlisted)
        if not self._asking_levels:
            self._asking_levels = True
            self.ask("levels", engine.levels, self._filled, self._unfilled)

    def ask_storage_at_times(self) -> None:
        """Ask it, now and then."""
        self._turn += 1
        if self._turn >= TURNS:
            self.ask_storage()

    def _listed(self, found: Listing) -> None:
        self._asking, self.answered, self.found = False, True, found
        self.show_all()
        if self._ask_again:
            self.ask_storage()

    def _unlisted(self, error: BaseException) -> None:
        self._listed(Listing((), (trouble_of("the storage", error),)))

    def _filled(self, levels: Levels) -> None:
        self._asking_levels, self.levels = False, levels
        self.show_all()

    def _unfilled(self, error: BaseException) -> None:
        self._filled(([], [], [trouble_of("the storage", error)]))

    # --- one kind alone ------------------------------------------------------------------------------------------

    @property
    def next_kind(self) -> str:
        """The kind that is shown alone next, "" for all."""
        order: Sequence[str] = ["", *self.kinds]
        return order[(order.index(self.kind) + 1) % len(order)]

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        if action == "kind" and len(self.kinds) < 2:
            return "There is one kind of points only." if self.kinds else "There is no restore point yet."
        return super().why_not(action)

    def action_kind(self) -> None:
        """Show the points of the next kind alone, after the last one all again."""
        if self.possible("kind"):
            self.show_kind(self.next_kind)

    def show_kind(self, kind: str) -> None:
        """Show the points of one kind alone, or all ("")."""
        self.kind = kind
        self.show_all()


def trouble_of(what: str, error: BaseException) -> Trouble:
    """Return an error as what keeps the points of something from the list."""
    hint = error.hint if isinstance(error, RollpointError) else ""
    return Trouble(what, safe(error), safe(hint))
