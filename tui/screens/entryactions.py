"""The ways from one path of a point to the screens about it. Shared by browse, history, find and changes."""

from __future__ import annotations

from collections.abc import Sequence

from engine.entries import Entry, Kind
from engine.points import RestorePoint
from tui.screens.base import BaseScreen
from tui.storagewords import of_storage


class EntryActions(BaseScreen[None]):
    """A screen on which paths of points are looked at. It reads anew when something was restored meanwhile."""

    _read_after = 0

    def on_screen_resume(self) -> None:
        """In front (again): something may have been restored from a screen above."""
        if self._read_after != self.rollpoint.restored:
            self._read_after = self.rollpoint.restored
            self.action_reload()

    def on_mount(self) -> None:
        """What is read from now on is new."""
        self._read_after = self.rollpoint.restored

    def action_reload(self) -> None:
        """Read anew; for screens that can."""

    def open_file(self, point: RestorePoint | None, entry: Entry) -> None:
        """Show the content of a regular file of a point, or of the live tree (None)."""
        from tui.screens.fileview import FileScreen

        if entry.kind is Kind.FILE:
            self.app.push_screen(FileScreen(point, entry))

    def open_difference(self, older: RestorePoint, newer: RestorePoint | None, entry: Entry) -> None:
        """Show how one path differs between two points, or a point and now; all below it for a directory."""
        from tui.screens.changes import ChangesScreen
        from tui.screens.filediff import FileDiffScreen

        if entry.kind is Kind.DIR:
            self.app.push_screen(ChangesScreen(older, newer, (entry.path,)))
        else:
            self.app.push_screen(FileDiffScreen(older, newer, entry.path))

    def open_history(self, path: bytes, point: RestorePoint | None) -> None:
        """Show the versions of a path; only the catalog of the replica knows them."""
        from tui.plainlisting import no_history
        from tui.screens.history import HistoryScreen

        if point is not None and of_storage(point):
            self.say(no_history(point), "warn")
            return
        self.app.push_screen(HistoryScreen(path, point))

    def open_browse(self, point: RestorePoint, path: bytes) -> None:
        """Browse the directory of a path, with the cursor on it."""
        from tui.screens.browse import BrowseScreen

        folder, _, name = path.rpartition(b"/")
        self.app.push_screen(BrowseScreen(point, folder, name))

    def open_find(self) -> None:
        """Look for a name in all points."""
        from tui.screens.find import FindScreen

        self.app.push_screen(FindScreen())

    def open_restore(self, point: RestorePoint, paths: Sequence[bytes]) -> None:
        """Ask where paths of a point are to be restored to, and do it."""
        from tui.screens.restore import RestoreScreen, Where

        def chosen(where: Where | None) -> None:
            if where == "in place":
                self._in_place(point, paths)
            elif where == "elsewhere":
                self._elsewhere(point, paths)

        self.app.push_screen(RestoreScreen(point, paths), chosen)

    def _in_place(self, point: RestorePoint, paths: Sequence[bytes]) -> None:
        from tui.screens.restore import scope_of
        from tui.screens.rollback import RollbackScreen

        self.app.push_screen(RollbackScreen(point, self.rollpoint.make_runner(), scope_of(paths)), self._put_back)

    def _elsewhere(self, point: RestorePoint, paths: Sequence[bytes]) -> None:
        from tui.screens.restore import ElsewhereScreen

        self.app.push_screen(ElsewhereScreen(point, paths), self._put_back)

    def _put_back(self, result: object) -> None:
        """Something may have changed: marks are done with, and what was read is old."""
        if result:
            self.rollpoint.restored += 1
            self.restored()
            self.on_screen_resume()

    def restored(self) -> None:
        """What this screen asked to be restored has been."""
