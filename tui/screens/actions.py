"""What can be done with the point under the cursor: each action opens its screen and says what came of it."""

from __future__ import annotations

from engine.points import RestorePoint
from engine.results import SnapshotResult
from tui.places import Here
from tui.screens.upkeep import Upkeep
from tui.storagewords import of_storage
from tui.text import called

_OF_VMS = frozenset({"vms", "vmdisks"})
_ABOUT_A_POINT = frozenset({"details", "changes", "rollback", "pin", "comment", "delete", "mark", "choose"})


class PointActions(Upkeep):
    """The actions of the list of points. The list itself is the subclass's."""

    WRITES = Upkeep.WRITES | {"take", "pin", "comment", "delete"}
    marked: RestorePoint | None = None

    def select(self, point_id: str) -> None:
        """Put the cursor on a point once it is listed."""
        raise NotImplementedError

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        why = super().why_not(action)
        if not why and action in _ABOUT_A_POINT and self.point() is None:
            return "There is no point under the cursor."
        point = self.point()
        if not why and action == "rollback" and point is not None and point.backend in _OF_VMS:
            return "A point of VMs is brought back where the VMs are: press V."
        return why

    def here(self) -> Here:
        """The point under the cursor, and how many there are."""
        return Here(self.point(), None if self.status is None else len(self.points))

    def _chosen_point(self, action: str) -> RestorePoint | None:
        """The point under the cursor; says why where there is none, or where nothing may be written."""
        return self.point() if self.possible(action) else None

    # --- looking -------------------------------------------------------------------------------------------------

    def action_details(self) -> None:
        """Everything about the point."""
        from tui.screens.details import DetailScreen

        point = self._chosen_point("details")
        if point is not None:
            self.app.push_screen(DetailScreen(point))

    def action_changes(self) -> None:
        """What changed since the point; between the marked point and this one where one is marked."""
        from tui.screens.changes import ChangesScreen

        point, marked = self._chosen_point("changes"), self.marked
        if point is None:
            return
        if marked is None or marked.id == point.id:
            self.app.push_screen(ChangesScreen(point))
        else:       # also of two kinds: the engine says so where they have nothing in common
            older, newer = sorted((marked, point), key=lambda p: (p.created, p.number))
            self.app.push_screen(ChangesScreen(older, newer))

    # --- taking and going back -----------------------------------------------------------------------------------

    def action_take(self) -> None:
        """Take a point."""
        from tui.screens.take import TakeScreen

        if self.possible("take"):
            self.app.push_screen(TakeScreen(), self._taken)

    def _taken(self, result: SnapshotResult | None) -> None:
        if result is not None:
            self.select(result.point.id)
            self.say(f"Point {called(result.point)} was taken.")
        self.action_reload()

    def action_rollback(self) -> None:
        """Roll back to the point."""
        from tui.screens.rollback import RollbackScreen
        from tui.screens.ways import WaysScreen

        point = self._chosen_point("rollback")
        if point is not None:
            screen = WaysScreen if of_storage(point) else RollbackScreen
            self.app.push_screen(screen(point, self.rollpoint.make_runner()), lambda _: self.action_reload())

    # --- notes and removal ---------------------------------------------------------------------------------------

    def action_pin(self) -> None:
        """Pin or unpin."""
        point = self._chosen_point("pin")
        if point is not None:
            wanted = not point.pinned
            word = "pinned" if wanted else "no longer pinned"
            engine = self.rollpoint.engine
            self.ask("note", lambda: engine.annotate(point, pinned=wanted), lambda p: self._noted(p, word))

    def action_comment(self) -> None:
        """Edit the comment."""
        from tui.screens.comment import CommentScreen

        point = self._chosen_point("comment")
        if point is None:
            return
        engine = self.rollpoint.engine

        def entered(text: str | None) -> None:
            if text is not None:
                self.ask("note", lambda: engine.annotate(point, comment=text),
                         lambda p: self._noted(p, "commented anew"))

        self.app.push_screen(CommentScreen(point), entered)

    def _noted(self, point: RestorePoint, word: str) -> None:
        self.say(f"Point {called(point)} is {word}.")
        self.action_reload()

    def action_delete(self) -> None:
        """Delete the point."""
        from tui.screens.delete import DeleteScreen

        point = self._chosen_point("delete")
        if point is not None:
            alike = sum(p.backend == point.backend for p in self.points)
            self.app.push_screen(DeleteScreen(point, alike - 1), self.after_removal)
