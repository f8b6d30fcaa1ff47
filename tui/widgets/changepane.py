"""A difference to look through: kinds of change to choose from, the tree or a flat list, a filter, a line of detail.

The screen that holds it gives it a `ChangeTree` and is told which path was chosen. Everything that takes longer than
a key press is done in a worker of that screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from engine.entries import Change
from tui.changetree import ChangeTree
from tui.summary import VIEWS
from tui.text import Segment, content, count
from tui.treeview import TreeView, first_opened, view_of
from tui.widgets.changerows import describe
from tui.widgets.filterline import FilterLine
from tui.widgets.keybar import Hint
from tui.widgets.rows import RowList, RowSource
from tui.widgets.treerows import TreeRows, describe_node
from tui.widgets.viewbar import ViewBar
from tui.widgets.viewlist import TextRows

if TYPE_CHECKING:
    from tui.screens.base import EngineCalls

Detail = Callable[[bytes], Change | None]
"""Asks the engine how one path changed; runs in a worker."""


class ChangePane(Vertical):
    """The pane. `show` gives it a tree; `more` are further lists of lines behind the five kinds of change."""

    BINDINGS = [
        Binding("right", "open(True)", show=False), Binding("left", "open(False)", show=False),
        Binding("space", "fold", show=False), Binding("asterisk", "all", show=False),
        Binding("f", "flat", show=False), Binding("slash", "filter", show=False),
        Binding("i", "inspect", show=False), *(Binding(str(n), f"view({n - 1})", show=False) for n in range(1, 10))]
    KEYS = (("1 to 5", "all, created, changed, attributes, deleted"),
            ("enter", "open a directory; the difference of a file"),
            ("right left, space", "open, close; left again goes to the directory above"),
            ("*", "open all directories, or close all"), ("f", "tree, or a flat list of paths"),
            ("/", "filter by words in the path, as you type"), ("i", "what differs about a directory itself"))
    """For the help of the screen that shows it."""

    class Chosen(Message):
        """The difference of a path is wanted."""

        def __init__(self, path: bytes) -> None:
            super().__init__()
            self.path = path

    class Told(Message):
        """What can be done has changed: the screen's hints should be made anew."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._tree: ChangeTree | None = None
        self._opened = bytearray()
        self._view: TreeView | None = None
        self._shown_view = (0, "")              # kind and words of `_view`
        self._flat = False
        self._more: list[tuple[str, RowSource]] = []
        self._more_paths: dict[tuple[int, int], bytes] = {}
        self._detail: Detail | None = None
        self._wanted: object = None

    def compose(self) -> ComposeResult:
        """Choice, list, line, filter."""
        yield ViewBar(id="kinds")
        yield RowList(id="change-rows")
        yield Static("", markup=False, id="view-line")
        yield FilterLine("words in the path", "#change-rows", id="name-filter")

    @property
    def rows(self) -> RowList:
        """The list."""
        return self.query_one("#change-rows", RowList)

    @property
    def bar(self) -> ViewBar:
        """The choice of kinds."""
        return self.query_one("#kinds", ViewBar)

    @property
    def filtering(self) -> bool:
        """Whether the line of the filter is there."""
        return bool(self.query_one(FilterLine).display)

    @property
    def current_path(self) -> bytes | None:
        """The path under the cursor, None where there is none."""
        node = self._node()
        return None if node is None or self._tree is None else self._tree.path(node)

    def on_descendant_focus(self) -> None:
        """Other keys do something in the list than in the filter."""
        self.post_message(self.Told())

    # --- what is shown -------------------------------------------------------------------------------------------

    def show(self, tree: ChangeTree, view: TreeView, detail: Detail | None = None) -> None:
        """Show a tree; `view` is its first view (`first_view`, made in the worker that made the tree)."""
        self._tree, self._opened, self._detail = tree, view.opened, detail
        self._label()
        self._fill(view, 0, "")

    def add(self, label: str, lines: Sequence[Segment], paths: Sequence[bytes | None] = ()) -> None:
        """Add a list of lines, or show others in it; a line may stand for a path, whose difference enter shows."""
        known = [name for name, _ in self._more]
        at = known.index(label) if label in known else len(known)
        self._more[at:at + 1] = [(label, TextRows(lines))]
        place = len(VIEWS) + at
        for key in [key for key in self._more_paths if key[0] == place]:
            del self._more_paths[key]
        self._more_paths.update(((place, row), path) for row, path in enumerate(paths) if path is not None)
        self._label()
        if self.bar.current == place:
            self.rows.show(self._more[at][1], self.rows.cursor)

    def _label(self) -> None:
        labels: list[str] = []
        if self._tree is not None:
            found = self._tree.counts
            labels = [f"{name} {count(sum(found[status] for status in statuses))}" for name, statuses in VIEWS]
        self.bar.show([*labels, *(f"{name} {count(len(source))}" for name, source in self._more)])

    def _fill(self, view: TreeView, kind: int, words: str, keep: int | None = None) -> None:
        self._view, self._shown_view = view, (kind, words)
        source = TreeRows(view, flat=self._flat)
        self.rows.show(source, source.row_of(keep) if keep is not None and len(source) else 0)
        if not len(source):
            self._say([("No path of this kind has all these words." if words else "No change of this kind.", "dim")])
        self.post_message(self.Told())

    def _say(self, parts: Sequence[Segment]) -> None:
        # The line never changes its height, so nothing has to be laid out anew.
        self.query_one("#view-line", Static).update(content(*parts), layout=False)

    @property
    def _words(self) -> str:
        return self.query_one(FilterLine).value

    @on(ViewBar.Switched)
    def _switched(self, event: ViewBar.Switched) -> None:
        event.stop()
        if event.index >= len(VIEWS):
            self.rows.show(self._more[event.index - len(VIEWS)][1])
            self.post_message(self.Told())
        else:
            self._remake()

    def _remake(self) -> None:
        """Make the view of the kind and the words that are chosen now."""
        tree, kind, words = self._tree, self.bar.current, self._words
        if tree is None or kind >= len(VIEWS):
            return
        keep, question = self._node(), object()
        self._wanted = question
        statuses = None if kind == 0 else VIEWS[kind][1]
        opened = bytearray(self._opened)    # keys may open and close directories meanwhile

        def made(view: TreeView | None) -> None:
            if view is not None and self._wanted is question:
                if not words.split():       # a search has directories of its own open
                    self._opened = view.opened
                self._fill(view, kind, words, keep)

        self._ask("view", lambda: view_of(tree, opened, statuses, words, lambda: self._wanted is not question), made)

    def _ask(self, what: str, work: Callable[[], object], then: Callable[..., None],
             failed: Callable[[BaseException], None] | None = None) -> None:
        cast("EngineCalls", self.screen).ask(f"changes {what} {id(self)}", work, then, failed)

    # --- one path ------------------------------------------------------------------------------------------------

    def _node(self) -> int | None:
        source = self.rows.source
        return source.node(self.rows.cursor) if isinstance(source, TreeRows) else None

    @on(RowList.Moved)
    def _moved(self, event: RowList.Moved) -> None:
        event.stop()
        source, tree, detail = event.rows.source, self._tree, self._detail
        if isinstance(source, TextRows):
            self._say([source.lines[event.index]] if event.index < len(source) else [("Nothing.", "dim")])
        node = self._node()
        if node is None or tree is None or self._view is None:
            return
        self._say(describe_node(self._view, node))
        if tree.status_of(node) is None or detail is None or tree.has_children(node):
            return
        path = tree.path(node)

        def told(change: Change | None) -> None:
            if change is not None and self._node() == node:
                self._say(describe(change))

        self._ask("detail", lambda: detail(path), told, lambda _: None)

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        node = self._node()
        if node is None:
            path = self._more_paths.get((self.bar.current, event.index))
            if path is not None:
                self.post_message(self.Chosen(path))
        elif self._foldable(node):
            self.action_fold()
        else:
            self.action_inspect()

    def _foldable(self, node: int | None) -> bool:
        return node is not None and self._view is not None and not self._flat and self._view.can_open(node)

    def action_inspect(self) -> None:
        """The difference of the path under the cursor, if it changed itself."""
        node = self._node()
        if node is not None and self._tree is not None and self._tree.status_of(node) is not None:
            self.post_message(self.Chosen(self._tree.path(node)))

    # --- opening and closing -------------------------------------------------------------------------------------

    def action_fold(self) -> None:
        """Open or close the directory under the cursor."""
        node = self._node()
        if self._foldable(node) and node is not None and self._view is not None:
            self._view.toggle(node)
            self.rows.show(self.rows.source, self._view.row(node))

    def action_open(self, wanted: bool) -> None:
        """Open, or go on to the next row; close, or go to the directory above."""
        node, view = self._node(), self._view
        if node is None or view is None or self._flat:
            return
        if self._foldable(node) and view.is_open(node) is not wanted:
            self.action_fold()
        elif wanted:
            self.rows.action_move(1)
        else:
            above = view.parent(node)
            self.rows.cursor = view.row(above) if above is not None else 0

    def action_all(self) -> None:
        """Open all directories; where all are open, close them."""
        node, view = self._node(), self._view
        if node is None or view is None or self._flat:
            return
        rows = len(view)
        view.open_all()
        if len(view) == rows:
            view.close_all()
        self.rows.show(self.rows.source, view.row(node))

    def action_flat(self) -> None:
        """Show the tree as a flat list of what changed, or as a tree again."""
        node, view = self._node(), self._view
        if view is None or self.bar.current >= len(VIEWS):
            return
        self._flat = not self._flat
        self._fill(view, *self._shown_view, node)

    # --- kinds and filter ----------------------------------------------------------------------------------------

    def action_view(self, index: int) -> None:
        """Show one kind of change, or a further list."""
        self.bar.choose(index)

    def action_filter(self) -> None:
        """Go to the filter."""
        if self._tree is not None:
            self.bar.choose(min(self.bar.current, len(VIEWS) - 1))
            self.query_one(FilterLine).open()
            self.post_message(self.Told())

    def clear_filter(self) -> bool:
        """Take the filter away; False where there was none."""
        found = self.query_one(FilterLine).clear_away()
        if found:
            self.post_message(self.Told())
        return found

    @on(Input.Changed, "#name-filter")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._shown_view[1]:
            self._remake()

    def hints(self) -> list[Hint]:
        """Return the keys that do something now."""
        if self._tree is None:
            return []
        if not self.rows.has_focus and self.filtering:
            return [Hint("enter", "To the list")]
        kinds = Hint(f"1-{len(VIEWS) + len(self._more)}", "Kind", weight=2)
        if self.bar.current >= len(VIEWS):
            return [kinds]
        every = [] if self._flat else [Hint("*", "All", weight=3)]
        return [kinds, Hint("/", "Filter"), Hint("enter", "Open"), *every,
                Hint("f", "Tree" if self._flat else "Flat", weight=3)]


def first_view(tree: ChangeTree) -> TreeView:
    """Return how a tree is shown at first: all kinds, with directories open where that leaves few rows."""
    return TreeView(tree, first_opened(tree))
