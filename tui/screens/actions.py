"""What can be done with the point under the cursor: each action opens its screen and says what came of it."""

from __future__ import annotations

from textual.widgets import Input

from engine.points import RestorePoint
from engine.results import Fate, PruneResult, SnapshotResult, StoreStatus
from tui.rollback_job import Runner
from tui.screens.base import BaseScreen
from tui.text import plural


class PointActions(BaseScreen[None]):
    """The actions of the list of points. The list itself is the subclass's."""

    points: list[RestorePoint]
    status: StoreStatus | None
    _awaiting = False       # whether the preview of a prune is to open when its answer comes
    _told = ""      # the interrupted rollback that was announced already

    def point(self) -> RestorePoint | None:
        """The point under the cursor."""
        raise NotImplementedError

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        raise NotImplementedError

    def select(self, point_id: str) -> None:
        """Put the cursor on a point once it is listed."""
        raise NotImplementedError

    def show_fates(self, fates: list[Fate]) -> None:
        """Open the preview of a prune."""
        raise NotImplementedError

    def action_reload(self) -> None:
        """Read points and status again."""
        raise NotImplementedError

    def _chosen_point(self, *, write: bool = False) -> RestorePoint | None:
        """The point under the cursor; says why where there is none, or where nothing may be written."""
        if write and not self._may_write():
            return None
        point = self.point()
        if point is None:
            self.say("There is no point under the cursor.", "warn")
        return point

    def _may_write(self) -> bool:
        if self.rollpoint.read_only:
            self.say("This is read-only: nothing can be changed from here.", "warn")
        return not self.rollpoint.read_only

    # --- looking -------------------------------------------------------------------------------------------------

    def action_details(self) -> None:
        """Everything about the point."""
        from tui.screens.details import DetailScreen

        point = self._chosen_point()
        if point is not None:
            self.app.push_screen(DetailScreen(point))

    def action_changes(self) -> None:
        """What changed since the point."""
        from tui.screens.changes import ChangesScreen

        point = self._chosen_point()
        if point is not None:
            self.app.push_screen(ChangesScreen(point))

    def action_verify(self) -> None:
        """Verify."""
        from tui.screens.verify import VerifyScreen

        if not self.points:
            self.say("There is nothing to verify yet.", "warn")
            return
        self.app.push_screen(VerifyScreen(self.point()), lambda _: self.action_reload())

    # --- taking and going back -----------------------------------------------------------------------------------

    def action_take(self) -> None:
        """Take a point."""
        from tui.screens.take import TakeScreen

        if self._may_write():
            self.app.push_screen(TakeScreen(), self._taken)

    def _taken(self, result: SnapshotResult | None) -> None:
        if result is not None:
            self.select(result.point.id)
            self.say(f"Point {result.point.number} was taken.")
        self.action_reload()

    def action_rollback(self) -> None:
        """Roll back to the point."""
        from tui.screens.rollback import RollbackScreen

        point = self._chosen_point()
        if point is not None:
            self.app.push_screen(RollbackScreen(point, self.rollpoint.make_runner()), lambda _: self.action_reload())

    def announce(self) -> None:
        """Open by itself, once, what came to be without this screen: a rollback that runs or has ended unseen, or one
        that was interrupted."""
        self.ask("announce", self.rollpoint.find_runner, self._announced)

    def _announced(self, runner: Runner | None) -> None:
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
        def found(runner: Runner | None) -> None:
            if runner is not None:
                self._watch(runner)
            elif self.status is not None:
                self._offer(self.status)

        self.ask("recover", self.rollpoint.find_runner, found)

    def _offer(self, status: StoreStatus) -> None:
        from tui.screens.recover import RecoverScreen, Way

        def chosen(way: Way | None) -> None:
            if way is not None and self._may_write():
                self._recover(way, status)

        self.app.push_screen(RecoverScreen(status), chosen)

    def _recover(self, way: str, status: StoreStatus) -> None:
        from tui.screens.recover import FinishRollbackScreen, RepairScreen

        if way == "repair":
            self.app.push_screen(RepairScreen(status.unfinished), lambda _: self.action_reload())
        else:
            screen = FinishRollbackScreen("resume" if way == "resume" else "undo", status.rollback,
                                          self.rollpoint.make_runner())
            self.app.push_screen(screen, lambda _: self.action_reload())

    # --- notes and removal ---------------------------------------------------------------------------------------

    def action_pin(self) -> None:
        """Pin or unpin."""
        point = self._chosen_point(write=True)
        if point is not None:
            wanted = not point.pinned
            word = "pinned" if wanted else "no longer pinned"
            engine = self.rollpoint.engine
            self.ask("note", lambda: engine.annotate(point, pinned=wanted), lambda p: self._noted(p, word))

    def action_comment(self) -> None:
        """Edit the comment."""
        from tui.screens.comment import CommentScreen

        point = self._chosen_point(write=True)
        if point is None:
            return
        engine = self.rollpoint.engine

        def entered(text: str | None) -> None:
            if text is not None:
                self.ask("note", lambda: engine.annotate(point, comment=text),
                         lambda p: self._noted(p, "commented anew"))

        self.app.push_screen(CommentScreen(point), entered)

    def _noted(self, point: RestorePoint, word: str) -> None:
        self.say(f"Point {point.number} is {word}.")
        self.action_reload()

    def action_delete(self) -> None:
        """Delete the point."""
        from tui.screens.delete import DeleteScreen

        point = self._chosen_point(write=True)
        if point is not None:
            self.app.push_screen(DeleteScreen(point, len(self.points) - 1), self.after_removal)

    def action_prune(self) -> None:
        """Show what the rules would remove."""
        if not self.points:
            self.say("There is nothing to prune yet.", "warn")
            return
        engine = self.rollpoint.engine
        self._awaiting = True
        self.say("Asking the rules ...", "dim")
        self.ask("fates", engine.fates, self.show_fates)

    def after_removal(self, result: PruneResult | None) -> None:
        """Say what was removed, and read the points again."""
        if result is not None:
            self.say(f"{plural(len(result.removed), 'point')} removed.", "warn" if result.failed else "good")
        self.action_reload()
