"""What rules of retention do, asked of the engine: for the points of the store at once, for those that the storage
keeps as soon as its tools have answered. A tool that hangs keeps nobody from trying rules on the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.backend import Losses
from engine.backends import Listing, Trouble
from engine.config import Retention
from engine.errors import RollpointError
from engine.results import Fate, StoreStatus
from tui.engine_api import EngineLike
from tui.screens.ruleedit import RuleEditing
from tui.storagewords import of_storage
from tui.text import safe

PATIENCE = 0.4
"""So many seconds the storage has to answer before it is said that it is being asked."""


class Beside(NamedTuple):
    """What rules do to the points that the storage keeps: their fates, newest first, and what removing those that go
    comes to, by backend; `why` says why that is not known."""

    found: Listing = Listing(())
    fates: tuple[Fate, ...] = ()
    losses: Mapping[str, Losses] = {}
    why: str = ""

    @property
    def there(self) -> bool:
        """Whether there is anything of the storage to speak of."""
        return bool(self.found.points or self.found.troubles)


class FateWatch(RuleEditing):
    """The asking. The storage lists its points once; other rules are tried on that list, one question at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.status: StoreStatus | None = None
        self.kept: list[Fate] = []      # of the points of the store
        self.beside = Beside()
        self.asking = False             # whether what is known of the storage is not of these rules
        self.slow = False               # whether that takes long enough to be said
        self._listed = False            # whether the storage has been asked for its points
        self._again = self._anew = False

    def load(self) -> None:
        """Ask for everything; the rules that are being tried stay."""
        engine, rules = self.rollpoint.engine, None if self.saved is None else self.rules

        def work() -> tuple[Retention, StoreStatus, list[Fate]]:
            saved, status = engine.rules(), engine.status()
            # Without a store there is nothing to prune in it, and the storage may have points all the same.
            return saved, status, engine.fates(rules or saved) if status.exists else []

        self.ask("fates", work, self._loaded, self._unknown)
        self._ask_storage(anew=True)

    def _unknown(self, error: BaseException) -> None:
        if self.saved is None:
            self.dismiss(None)
        self.rollpoint.report(error)

    def _loaded(self, answer: tuple[Retention, StoreStatus, list[Fate]]) -> None:
        if self.saved is None:
            self.rules = answer[0]
        self.saved, self.status, self.kept = answer
        self._merge()

    def ask_fates(self) -> None:
        """Ask what the rules that are tried would do."""
        rules, engine = self.rules, self.rollpoint.engine
        if self.status is None or self.status.exists:
            self.ask("fates", lambda: engine.fates(rules), self._tried, self.rollpoint.report)
        if self.beside.found.points or not self._listed:
            self._ask_storage()

    def _tried(self, fates: list[Fate]) -> None:
        self.kept = fates
        self._merge()

    # --- the storage -------------------------------------------------------------------------------------------------

    def _ask_storage(self, *, anew: bool = False) -> None:
        """Ask what the rules do to its points, with `anew` for the points too."""
        self._anew |= anew
        if self.asking:
            self._again = True      # what is being worked out is of other rules, or of points from before
            return
        listing = None if self._anew or not self._listed else self.beside.found
        self.asking, self._again, self._anew = True, False, False
        rules, engine = None if self.saved is None else self.rules, self.rollpoint.engine
        self.set_timer(PATIENCE, self._say_slow)
        self.ask("storage", lambda: _beside(engine, listing, rules), self._answered, self._silent)

    def _say_slow(self) -> None:
        if self.asking and not self.slow:
            self.slow = True
            self._merge()

    def _answered(self, beside: Beside) -> None:
        self.asking, self._listed, self.beside = False, True, beside
        if self._again:
            self._ask_storage()
        else:
            self.slow = False
        self._merge()

    def _silent(self, error: BaseException) -> None:
        self._answered(Beside(Listing((), (Trouble("the storage", safe(error)),))))

    def _merge(self) -> None:
        """Put the fates of all points together, newest first, and show them; of the storage's none is known while it
        is asked about other rules."""
        if self.saved is None:
            return
        self.fates = sorted([*self.kept, *self.beside.fates], reverse=True,
                            key=lambda f: (f.point.created, f.point.newest, f.point.number, f.point.id))
        self.show()

    @property
    def certain(self) -> list[Fate]:
        """The fates that are those of the rules that are tried."""
        return [f for f in self.fates if not (self.asking and of_storage(f.point))]


def _beside(engine: EngineLike, listing: Listing | None, rules: Retention | None) -> Beside:
    """Ask about the storage (in a thread)."""
    found = engine.storage_points() if listing is None else listing
    if not found.points:
        return Beside(found)
    fates, _ = engine.all_fates(rules, listing=found)
    going = [fate.point for fate in fates if not fate.keep]
    try:
        return Beside(found, tuple(fates), engine.losses(going) if going else {})
    except RollpointError as error:
        return Beside(found, tuple(fates), {}, error.message)
