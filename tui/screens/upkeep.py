"""Looking after the store, from the list of points and from the screen about the store: verify, unfinished work."""

from __future__ import annotations

from textual.widgets import Input

from engine.points import RestorePoint
from engine.results import PruneResult, StoreStatus
from tui.rollback_job import Runner
from tui.screens.base import BaseScreen
from tui.storagewords import of_storage
from tui.text import plural


class Upkeep(BaseScreen[None]):
    """The actions. Status, points and the way to say something are the subclass's."""

    points: list[RestorePoint]
    status: StoreStatus | None
    WRITES: frozenset[str] = frozenset({"repair"})
    """Actions that change something: not for those who may only look."""
    _told = ""      # the interrupted rollback that was announced already

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
            point = self.point()
            if point is not None and of_storage(point):
                self.say("The storage checks its own points: only those of the store are verified.", "dim")
                point = None
            self.app.push_screen(VerifyScreen(point), lambda _: self.action_reload())

    def action_repair(self) -> None:
        """Repair the store."""
        if self.status is not None and self.possible("repair"):
            self._recover("repair", self.status)

    # --- a rollback that runs, has ended unseen, or was left half done -------------------------------------------

    def announce(self) -> None:
        """Open by itself, once, what came to be without this screen: a rollback that runs or has ended unseen, or one
        that was interrupted."""
        self.ask("announce", self.rollpoint.find_runner, self._announced)

    def _unseen(self, runner: Runner | None) -> Runner | None:
        """The runner, unless its end was shown between the question and the answer."""
        return None if runner is None or runner.run == self.rollpoint.seen_run else runner

    def _announced(self, found: Runner | None) -> None:
        runner = self._unseen(found)
        if not self.is_current or isinstance(self.focused, Input):
            return      # something is being done here; the next look comes soon
        status = self.status
        if runner is not None:
            if runner.run != self.rollpoint.watched_run or not runner.poll().running:
                self._watch(runner)
        elif status is not None and status.rollback and not status.holder and status.rollback != self._told:
            self._told = status.rollback
            if not self.rollpoint.read_only and not status.read_only:
                self._offer(status)

    def _watch(self, runner: Runner) -> None:
        from tui.screens.attach import AttachScreen

        self.app.push_screen(AttachScreen(runner), lambda _: self.action_reload())

    def action_recover(self) -> None:
        """Watch the rollback that is under way, or go on with what was left unfinished."""
        def found(answer: Runner | None) -> None:
            runner = self._unseen(answer)
            if runner is not None:
                self._watch(runner)
            elif self.status is not None:
                self._offer(self.status)

        self.ask("recover", self.rollpoint.find_runner, found)

    def _offer(self, status: StoreStatus) -> None:
        from tui.screens.recover import RecoverScreen, Way

        def chosen(way: Way | None) -> None:
            if way is not None and self.possible("repair"):
                self._recover(way, status)

        self.app.push_screen(RecoverScreen(status, self.points), chosen)

    def _recover(self, way: str, status: StoreStatus) -> None:
        from tui.screens.recover import FinishRollbackScreen, RepairScreen, TakeBackScreen

        if way == "repair":
            self.app.push_screen(RepairScreen(status.unfinished), lambda _: self.action_reload())
        elif way == "take back":
            self.app.push_screen(TakeBackScreen(status.ordered), lambda _: self.action_reload())
        else:
            screen = FinishRollbackScreen("resume" if way == "resume" else "undo", status.rollback,
                                          self.rollpoint.make_runner())
            self.app.push_screen(screen, lambda _: self.action_reload())

    def after_removal(self, result: PruneResult | None) -> None:
        """Say what was removed, and read the points again."""
        if result is not None:
            self.say(f"{plural(len(result.removed), 'point')} removed.", "warn" if result.failed else "good")
        self.action_reload()
