"""Looking after the store, from the list of points and from the screen about the store: verify, unfinished work."""

from __future__ import annotations

from engine.points import RestorePoint
from engine.results import PruneResult, RepairReport, RollbackResult, StoreStatus
from tui.screens.base import BaseScreen
from tui.text import plural


class Upkeep(BaseScreen[None]):
    """The actions. Status, points and the way to say something are the subclass's."""

    points: list[RestorePoint]
    status: StoreStatus | None
    WRITES: frozenset[str] = frozenset({"repair"})
    """Actions that change something: not for those who may only look."""

    def action_reload(self) -> None:
        """Read points and status again."""
        raise NotImplementedError

    def point(self) -> RestorePoint | None:
        """The point under the cursor."""
        return None

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        if action in self.WRITES and self.rollpoint.read_only:
            return "This is read-only: nothing can be changed from here."
        if action == "verify" and not self.points:
            return "There is nothing to verify yet."
        return ""

    def possible(self, action: str) -> bool:
        """Whether an action makes sense now; where not, says why."""
        why = self.why_not(action)
        if why:
            self.say(why, "warn")
        return not why

    def action_verify(self) -> None:
        """Verify."""
        from tui.screens.verify import VerifyScreen

        if self.possible("verify"):
            self.app.push_screen(VerifyScreen(self.point()), lambda _: self.action_reload())

    def action_repair(self) -> None:
        """Repair the store."""
        if self.status is not None and self.possible("repair"):
            self._recover("repair", self.status)

    def action_recover(self) -> None:
        """Go on with what was left unfinished."""
        from tui.screens.recover import RecoverScreen, Way

        def chosen(way: Way | None) -> None:
            if way is not None and self.status is not None and self.possible("repair"):
                self._recover(way, self.status)

        if self.status is not None:
            self.app.push_screen(RecoverScreen(self.status), chosen)

    def _recover(self, way: str, status: StoreStatus) -> None:
        from tui.screens.recover import FinishRollbackScreen, RepairScreen

        def finished(_: RollbackResult | RepairReport | None) -> None:
            self.action_reload()

        if way == "repair":
            self.app.push_screen(RepairScreen(status.unfinished), finished)
        else:
            screen = FinishRollbackScreen("resume" if way == "resume" else "undo", status.rollback,
                                          self.rollpoint.make_runner())
            self.app.push_screen(screen, finished)

    def after_removal(self, result: PruneResult | None) -> None:
        """Say what was removed, and read the points again."""
        if result is not None:
            self.say(f"{plural(len(result.removed), 'point')} removed.", "warn" if result.failed else "good")
        self.action_reload()
