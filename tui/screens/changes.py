"""What changed between two points, or since one: a tree with counts, packages and kernels in words, one file's
difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.entries import Change, Kind, Status
from engine.errors import CancelledError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import Software
from tui.changetree import ChangeTree
from tui.jobs import LongJob
from tui.screens.entryactions import EntryActions
from tui.text import Segment, content, count, error_lines, path, plural, point_title, safe, size
from tui.treeview import TreeView
from tui.widgets.changepane import ChangePane, first_view
from tui.widgets.changerows import LOOKS
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.progress import ProgressPanel

_BOOT = b"boot"
_NAMED = 3


class ChangesScreen(EntryActions):
    """The screen behind `d`: from `older` to `newer`, or to the live system where there is no `newer`; with `paths`
    only what is at or below them."""

    BINDINGS = [Binding("escape", "leave", "Back", show=False), Binding("q", "leave", "Back", show=False),
                Binding("s", "swap", show=False), Binding("h", "history", show=False),
                Binding("b", "browse", show=False)]
    KEYS = (*ChangePane.KEYS, ("6", "packages, kernels, files of /boot"),
            ("s", "the other way round, between two points"), ("h", "all versions of the path"),
            ("b", "browse its directory in the older point"), ("esc", "clear the filter; back"))
    NOTES = ("+ created   - deleted   M content changed   T type changed   a only attributes changed",
             "A directory has the counts of all below it (T counts as M) and the bytes that these changes are about.",
             "Sizes and times decide whether content changed, unless checksums of both sides are known.")

    def __init__(self, older: RestorePoint, newer: RestorePoint | None = None, paths: Sequence[bytes] = ()) -> None:
        super().__init__()
        self._older, self._newer, self._paths = older, newer, tuple(paths)
        self._work = LongJob()
        self._tree: ChangeTree | None = None
        self._software: Software | BaseException | None = None

    def compose(self) -> ComposeResult:
        """Header, what is compared, totals, software, progress or lists, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield Static("", markup=False, id="totals")
        yield Static("", markup=False, id="software")
        yield ProgressPanel(id="work")
        yield ChangePane(id="changes")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Compare."""
        self._begin()

    def _begin(self) -> None:
        """Compare in a worker, and ask for the packages in another."""
        now = self.rollpoint.now()
        until = content(*point_title(self._newer, now)) if self._newer else content(("now", "head"))
        since = content(("Changes since " if self._newer is None else "Changes from ", "dim"),
                        *point_title(self._older, now))
        where = content((" in ", "dim"), (", ".join(map(path, self._paths)), "strong")) if self._paths else content()
        self.query_one("#subject", Static).update(since + content((", until " if not self._newer else ", to ", "dim"))
                                                  + until + where)
        self._tree = None
        self._software = Software() if self._paths else None    # packages are no matter of some directory
        self._work = LongJob()
        self._show(compared=False)
        self.query_one(ProgressPanel).follow(self._work)
        self._say_keys()
        engine, older, newer, job = self.rollpoint.engine, self._older, self._newer, self._work.job
        paths = self._paths

        def compare() -> tuple[ChangeTree, TreeView]:
            tree = ChangeTree.of(_watched(engine.changes(older, newer, paths, job), job))
            return tree, first_view(tree)

        self.ask("changes", compare, self._compared, self._failed)
        if not paths:
            self.ask("software", lambda: engine.software(older, newer), self._asked, self._asked)

    def on_unmount(self) -> None:
        """Nobody waits for the answer any more."""
        self._work.job.cancel()

    def _show(self, *, compared: bool) -> None:
        """The lists, or how far the comparison is. By a class, so that low screens can do without the totals."""
        for name, there in (("#work", not compared), ("#changes", compared), ("#totals", compared)):
            self.query_one(name).set_class(not there, "-gone")
        self.query_one("#software").add_class("-gone")

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        if not isinstance(error, CancelledError):
            self.rollpoint.report(error)

    def _compared(self, made: tuple[ChangeTree, TreeView]) -> None:
        tree, view = made
        self._tree = tree
        engine, older, newer = self.rollpoint.engine, self._older, self._newer
        self._show(compared=True)
        self.query_one("#totals", Static).update(content(*totals(view)))
        pane = self.query_one(ChangePane)
        pane.show(tree, view, lambda name: engine.change(older, newer, name))
        pane.rows.focus()
        self._tell_software()

    def _asked(self, found: Software | BaseException) -> None:
        self._software = found
        self._tell_software()

    def _tell_software(self) -> None:
        """Packages and kernels, once both they and the paths are known."""
        if self._tree is None:
            return
        tree = self._tree
        # That something in a directory changed is said by what changed there, not by the directory's own time.
        boot = [node for node in tree.below(_BOOT)
                if not (tree.kind_of(node) is Kind.DIR and tree.status_of(node) is Status.ATTRS)]
        line = software_line(self._software, len(boot))
        self.query_one("#software").set_class(not line, "-gone")
        self.query_one("#software", Static).update(content(*line))
        lines, paths = software_rows(self._software, tree, boot)
        self.query_one(ChangePane).add("Software", lines, paths)
        self._say_keys()

    # --- keys ----------------------------------------------------------------------------------------------------

    @on(ChangePane.Told)
    def _say_keys(self) -> None:
        pane = self.query_one(ChangePane)
        if self._tree is None:
            hints = [Hint("esc", "Stop", "screen.leave")]
        else:
            hints = [Hint("esc", "No filter" if pane.filtering else "Back", "screen.leave"), *pane.hints(),
                     *([Hint("s", "Swap", "screen.swap", 3)] if self._newer else []), Hint("?", "Help", "app.help")]
        self.query_one("#keys", KeyBar).show(hints)

    @on(ChangePane.Chosen)
    def _chosen(self, event: ChangePane.Chosen) -> None:
        from tui.screens.filediff import FileDiffScreen

        event.stop()
        self.app.push_screen(FileDiffScreen(self._older, self._newer, event.path))

    def action_history(self) -> None:
        """All versions of the path under the cursor."""
        name = self.query_one(ChangePane).current_path
        if name is not None:
            self.open_history(name, self._older)

    def action_browse(self) -> None:
        """Its directory in the older point."""
        name = self.query_one(ChangePane).current_path
        if name is not None:
            self.open_browse(self._older, name)

    def action_swap(self) -> None:
        """Compare the other way round."""
        if self._newer is not None and self._tree is not None:
            self._older, self._newer = self._newer, self._older
            self.query_one(ChangePane).clear_filter()
            self._begin()

    def action_leave(self) -> None:
        """Stop comparing; or clear the filter; or go back."""
        if self._tree is not None and self.query_one(ChangePane).clear_filter():
            return
        self._work.job.cancel()
        self.dismiss(None)


def _watched(changes: Iterable[Change], job: Job) -> Iterator[Change]:
    """Pass changes on, say how many there were, and stop when that is wished."""
    for number, change in enumerate(changes):
        if number % 4096 == 0:
            job.progress("comparing", number, unit="changes")
        yield change


def totals(view: TreeView) -> list[Segment]:
    """Return a difference in one line: counts by kind of change, and the bytes they are about."""
    found = view.counts(0)
    if not any(found.values()):
        return [("Nothing changed.", "good")]
    parts: list[Segment] = []
    for label, look, statuses in (("created", "good", (Status.CREATED,)),
                                  ("changed", "warn", (Status.CHANGED, Status.TYPE)),
                                  ("attributes", "", (Status.ATTRS,)), ("deleted", "bad", (Status.DELETED,))):
        number = sum(found[s] for s in statuses)
        parts.append(("   " * bool(parts) + f"{count(number)} {label}", look if number else "dim"))
    return [*parts, (f"   {size(view.bytes(0))} in all", "dim")]


def software_line(found: Software | BaseException | None, boot: int) -> list[Segment]:
    """Return packages, kernels and /boot in one line, kernels first; nothing where none of them differs."""
    parts: list[Segment] = []
    if isinstance(found, Software):
        kernels = [safe(kernel) for kernel in found.kernels]
        if kernels:
            more = f" and {len(kernels) - _NAMED} more" if len(kernels) > _NAMED else ""
            parts.append((", ".join(kernels[:_NAMED]) + more, "warn"))
        if found.packages:
            parts.append((plural(len(found.packages), "package"), "strong"))
    if boot:
        parts.append((f"{plural(boot, 'change')} in /boot", "warn"))
    if isinstance(found, BaseException):
        parts.append(("packages and kernels cannot be compared (6)", "bad"))
    elif found is not None and found.notes:
        parts.append(("not all can be said (6)", "warn"))
    out: list[Segment] = []
    for part in parts:
        out += [(", ", "dim"), part] if out else [part]
    return out


def software_rows(found: Software | BaseException | None, tree: ChangeTree,
                  boot: list[int]) -> tuple[list[Segment], list[bytes | None]]:
    """Return the lines of the list of software, kernels and boot files first, and the path each stands for, if any."""
    lines: list[Segment] = []
    if isinstance(found, BaseException):
        lines += [(row.plain, "bad") for row in error_lines(found) if not isinstance(row, tuple) and row.plain]
    elif found is not None:
        lines += [(note, "warn") for note in found.notes]
        lines += [(kernel, "warn") for kernel in found.kernels]
    paths: list[bytes | None] = [None] * len(lines)
    for node in boot:
        status = tree.status_of(node)
        assert status is not None
        lines.append((f"{status.value} {path(tree.path(node))}", LOOKS[status]))
        paths.append(tree.path(node))
    if isinstance(found, Software):
        lines += [(package, "") for package in found.packages]
    return lines, paths
