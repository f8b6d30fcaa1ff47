"""The start on a rescue CD: stores and systems on all disks, what takes the place of what, then the app on them.

Nothing is looked for before enter, and nothing is mounted to be written to before the mapping was seen. Opening is
done by another process (engine/rescue/opening.py): this app ends, and says by which words it goes on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, Static

from engine.errors import CancelledError, RollpointError
from engine.events import Job
from engine.machine.filesystems import Recorded, may_merge
from engine.rescue.choosing import point as newest_point
from engine.rescue.choosing import store as named_store
from engine.rescue.mapping import MERGED, MISSING, Choices, Mapping, propose
from engine.rescue.mapping import Row as MappingRow
from engine.rescue.opening import words
from engine.rescue.survey import FoundPoint, FoundStore, Survey
from tui.jobs import LongJob
from tui.screens.base import BaseScreen
from tui.text import Line, Segment, content, error_lines, plural, stamp
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput
from tui.widgets.progress import ProgressPanel
from tui.widgets.rescuerows import MappingRows, StoreRows, SystemRows
from tui.widgets.rows import RowList
from tui.widgets.viewlist import TextRows, ViewList

STORES, SYSTEMS, MAPPING, NOTES = range(4)
Look = Callable[[Job, Sequence[str], bool], Survey]
"""Looks at all disks: the job, NFS shares that were named, whether LVM and RAID are activated first."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line has said already: devices to look at alone, shares, and the choices of the mapping."""

    devices: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    activate: bool = False
    store: str = ""
    choices: Choices = field(default_factory=Choices)


class RescueScreen(BaseScreen[None]):
    """The place behind `Z`, and the first screen of `rollpoint rescue`; with `begin` it looks at once."""

    AUTO_FOCUS = ""     # enter looks, as long as there is no list
    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "close", show=False),
        Binding("enter", "look", show=False), Binding("u,f5", "look", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(4)),
        Binding("right,l", "turn_view(1)", show=False), Binding("left,h", "turn_view(-1)", show=False),
        Binding("left_square_bracket,minus", "step(-1)", show=False),
        Binding("right_square_bracket,plus", "step(1)", show=False), Binding("space,x", "choose", show=False),
        Binding("m", "device", show=False), Binding("d", "merge", show=False), Binding("a", "adopt", show=False),
        Binding("n", "share", show=False), Binding("v", "activate", show=False)]
    KEYS = (("enter", "look at the disks; on a store: what belongs to it; on the mapping: mount it, after yes"),
            ("1 to 4, left right", "stores, systems, mapping, what else was found"),
            ("space, x", "systems: take this one as the target; again: the one that was recorded"),
            ("m", "mapping: name the device for this file system"),
            ("d", "mapping: let this file system become a directory of the one around it; again: no longer"),
            ("a", "adopt: also take file systems that are only like the recorded ones, or another machine's"),
            ("[, -", "the file systems of the point before"), ("], +", "those of the point after"),
            ("n", "look on an NFS share too"), ("v", "activate LVM volumes and assemble RAIDs, then look again"),
            ("u, F5", "look again"), ("esc", "stop looking; back"), ("q", "leave"))
    NOTES = ("Looking mounts each file system read-only, where nobody else sees it, without replaying its journal.",
             "Opening mounts the store and the file systems of the mapping to be written to; they are unmounted when "
             "Rollpoint is left. Nothing is rolled back before you say so there.",
             "A point that was recorded on other file systems is not put onto these without a (adopt) and yes.")

    def __init__(self, look: Look | None = None, wish: Wish | None = None, *, begin: bool = False) -> None:
        super().__init__()
        self._look, self._wish, self._begin = look, wish or Wish(), begin
        self._choices, self._shares, self._activate = self._wish.choices, self._wish.shares, self._wish.activate
        self._found: Survey | None = None
        self._store: FoundStore | None = None
        self._point: FoundPoint | None = None
        self._mapping: Mapping | None = None
        self._work = LongJob()

    def compose(self) -> ComposeResult:
        """Header, what this is about, words or progress or lists, the line for a share, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield Fields(id="empty")
        yield ProgressPanel(id="work")
        yield ViewList(id="rescue-views")
        yield LineInput(placeholder="server:/path of an NFS share", max_length=1000, id="share")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Say what it would do; on a rescue CD, do it."""
        self.query_one("#share").display = False
        self._present("empty")
        self.query_one("#empty", Fields).show([
            content("Enter looks at all disks of this machine for stores of Rollpoint and for installed systems."),
            content(("It only reads. Nothing is mounted to be written to before you have seen what.", "dim"))])
        self._say()
        if self._begin:
            self.action_look()

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self._work.job.cancel()

    @property
    def _busy(self) -> bool:
        return bool(self.query_one("#work").display)

    def _present(self, shown: str) -> None:
        for name in ("empty", "work", "rescue-views"):
            self.query_one(f"#{name}").display = name == shown

    # --- looking -------------------------------------------------------------------------------------------------

    def action_look(self) -> None:
        """Look at the disks, unless that is being done."""
        look = self._look or self.rollpoint.look_at_disks
        if self._busy:
            return
        if look is None:
            self.say("The disks cannot be looked at from here.", "warn")
            return
        work = self._work = LongJob()
        self._present("work")
        self.query_one(ProgressPanel).follow(work)
        self._say()
        shares, activate = self._shares, self._activate
        self.ask("survey", lambda: look(work.job, shares, activate), self._looked, self._failed)

    def _failed(self, error: BaseException) -> None:
        self._present("rescue-views" if self._found is not None else "empty")
        if isinstance(error, CancelledError):
            rows: list[Line] = [content(("Stopped. Enter looks again.", "warn"))]
        else:
            rows = error_lines(error)
        if self._found is not None and not isinstance(error, CancelledError):
            self.rollpoint.report(error)
        self.query_one("#empty", Fields).show(rows)
        self._say()

    def _looked(self, found: Survey) -> None:
        self._found = found
        self._store = self._wanted(found)
        self._point = None
        self._present("rescue-views")
        self._map()
        views = self.query_one(ViewList)
        views.bar.choose(STORES)
        views.rows.focus()

    def _wanted(self, found: Survey) -> FoundStore | None:
        """The store that was chosen before, or named on the command line, or the first that can be used."""
        spec = self._store.name if self._store is not None else self._wish.store
        if os.path.isdir(spec):
            spec = os.path.realpath(spec)
        with contextlib.suppress(RollpointError):
            if spec:
                return next((s for s in found.stores if s.name == spec), None) or named_store(found, spec)
        return next((s for s in found.stores if not s.problem), found.stores[0] if found.stores else None)

    # --- what takes the place of what ----------------------------------------------------------------------------

    def _map(self) -> None:
        """Work the mapping out anew and show everything."""
        found, store = self._found, self._store
        if found is None:
            return
        self._mapping, why = None, ""
        if store is None:
            why = "There is no store on any disk: n names an NFS share, v activates LVM and RAID."
        elif store.problem:
            why = f"The store {store.name} cannot be used: {store.problem}"
        else:
            try:
                self._point = self._point or newest_point(store)
                self._mapping = propose(self._point.sources, found, self._choices, store, naming="key m",
                                        adopting="key a")
            except RollpointError as error:
                why = error.message
        row = self._row()
        notes: list[Segment] = [(f"cannot be read: {bad.on.device}: {bad.why}", "bad") for bad in found.unreadable]
        notes += [(f"note: {note.replace('--activate activates', 'key v activates')}", "") for note in found.notes]
        self.query_one(ViewList).show([
            ("Stores", StoreRows(found.stores, self.rollpoint.now())),
            ("Systems", SystemRows(found.systems, self._choices.system)),
            ("Mapping", MappingRows(self._mapping, why)), ("Notes", TextRows(notes))], keep=True)
        if row is not None:
            self._return_to(row.recorded)
        self._say()

    def _return_to(self, one: Recorded) -> None:
        """Put the cursor back on a recorded file system: refusals above it come and go."""
        rows = self.query_one(ViewList).rows
        if isinstance(rows.source, MappingRows):
            at = next((i for i in range(len(rows.source)) if (r := rows.source.at(i)) and r.recorded == one), None)
            rows.cursor = rows.cursor if at is None else at

    def _say(self) -> None:
        """What is chosen, and the keys."""
        parts: list[Segment] = [("Rescue ", "head")]
        if self._found is None:
            parts.append(("stores and systems on the disks of this machine", "dim"))
        else:
            parts.append((f"{plural(len(self._found.stores), 'store')}, {plural(len(self._found.systems), 'system')}",
                          ""))
            if self._store is not None and self._point is not None:
                parts.append((f"   {self._store.name}, point {self._point.number} of {stamp(self._point.created)}",
                              "strong"))
            parts.append(("   ADOPT", "warn") if self._choices.adopt else ("", ""))
        self.query_one("#subject", Static).update(content(*parts))
        self.query_one("#keys", KeyBar).show(self._hints())

    def _hints(self) -> list[Hint]:
        ends = [Hint("esc", "Stop" if self._busy else "Back", "screen.leave"), Hint("?", "Help", "app.help")]
        if self._busy:
            return ends
        if self._found is None:
            return [Hint("enter", "Look at the disks", "screen.look"), *ends]
        view = self.query_one(ViewList).bar.current
        first = {STORES: [Hint("enter", "Its mapping")], SYSTEMS: [Hint("space", "Choose", "screen.choose")],
                 MAPPING: [*([Hint("enter", "Mount and open")] if self._may_open else []),
                           Hint("m", "Device", "screen.device", 2), *self._merging(),
                           Hint("a", "Adopt", "screen.adopt", 2)],
                 NOTES: []}[view]
        return [*first, Hint("1-4", "Lists", weight=2), Hint("n", "NFS", "screen.share", 4),
                Hint("v", "LVM, RAID", "screen.activate", 4), Hint("u", "Look again", "screen.look", 3), *ends]

    def _merging(self) -> list[Hint]:
        """The key that makes a directory of a file system, where there is no place for one."""
        rows = self._mapping.rows if self._mapping is not None else ()
        some = any(r.state == MERGED or (r.state == MISSING and may_merge(r.recorded.place)) for r in rows)
        return [Hint("d", "Directory", "screen.merge", 2)] if some else []

    def _row(self) -> MappingRow | None:
        """The recorded file system under the cursor."""
        rows = self.query_one(ViewList).rows
        return rows.source.at(rows.cursor) if isinstance(rows.source, MappingRows) else None

    @property
    def _may_open(self) -> bool:
        return self._mapping is not None and not self._mapping.refusals

    # --- keys ----------------------------------------------------------------------------------------------------

    @on(ViewList.Turned)
    def _turned(self, event: ViewList.Turned) -> None:
        event.stop()
        self._say()

    @on(RowList.Chosen, "#view-rows")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source = event.rows.source
        if isinstance(source, StoreRows):
            self._take(source.stores[event.index])
            self.query_one(ViewList).bar.choose(MAPPING)
        elif isinstance(source, SystemRows):
            self.action_choose()
        elif isinstance(source, MappingRows):
            self._open()

    def _take(self, store: FoundStore) -> None:
        if self._store is None or store.name != self._store.name:
            self._store, self._point = store, None
            self._choices = replace(self._choices, named={}, merged=frozenset())
        self._map()

    def action_choose(self) -> None:
        """Take the system under the cursor as the target, or the recorded one again."""
        rows = self.query_one(ViewList).rows
        if isinstance(rows.source, SystemRows) and rows.cursor < len(rows.source):
            device = rows.source.systems[rows.cursor].on.device
            self._choices = replace(self._choices, system="" if self._choices.system == device else device)
            self._map()
        elif isinstance(rows.source, StoreRows) and rows.cursor < len(rows.source):
            self._take(rows.source.stores[rows.cursor])

    def action_device(self) -> None:
        """Name the device for the file system under the cursor."""
        from tui.screens.device import DeviceScreen

        mapped, found = self._row(), self._found
        if mapped is None or found is None:
            return
        mount = mapped.recorded.mount

        def named(device: str | None) -> None:
            if device is not None:
                chosen = {k: v for k, v in self._choices.named.items() if k != mount}
                self._choices = replace(self._choices, named=chosen | ({mount: device} if device else {}))
                self._map()

        self.app.push_screen(DeviceScreen(mapped, found), named)

    def action_merge(self) -> None:
        """Let the file system under the cursor become a directory, or no longer; where it has a place it is mounted."""
        row = self._row()
        if row is None:
            return
        if row.state not in (MISSING, MERGED):
            self.say(f"{row.recorded.mount} has a place: only what has none becomes a directory.", "warn")
        elif row.state == MISSING and not may_merge(row.recorded.place):
            self.say(f"{row.recorded.mount} cannot become a directory: it is needed as a file system.", "warn")
        else:
            self._choices = replace(self._choices, merged=self._choices.merged ^ {row.recorded.mount})
            self._map()

    def action_adopt(self) -> None:
        """Also take file systems that are only like the recorded ones, or no longer."""
        if self._found is not None and not self._busy:
            self._choices = replace(self._choices, adopt=not self._choices.adopt)
            self._map()

    def action_step(self, by: int) -> None:
        """Map the file systems of another point of the store."""
        store, point = self._store, self._point
        if store is None or point is None:
            return
        at = store.points.index(point) - by
        if 0 <= at < len(store.points):
            self._point = store.points[at]
            self._map()

    def action_view(self, index: int) -> None:
        """Show another list."""
        self.query_one(ViewList).bar.choose(index)

    def action_turn_view(self, by: int) -> None:
        """Show the next or the previous list."""
        self.query_one(ViewList).bar.step(by)

    def action_activate(self) -> None:
        """Activate LVM and RAID, and look again."""
        if not self._busy:
            self._activate = True
            self.action_look()

    def action_share(self) -> None:
        """Type an NFS share to look at."""
        if not self._busy:
            self.open_line(self.query_one("#share", LineInput))

    @on(Input.Submitted, "#share")
    def _share_typed(self, event: Input.Submitted) -> None:
        from engine.rescue.finding import is_share

        event.stop()
        share = event.value.strip()
        if share and not is_share(share):
            self.say(f"{share} is no NFS share: name it as server:/path", "warn")
            return
        self._close_share()
        if share:
            self._shares = tuple(dict.fromkeys((*self._shares, share)))
            self.action_look()

    def _close_share(self) -> bool:
        line = self.query_one("#share", LineInput)
        shown = bool(line.display)
        line.value, line.display = "", False
        if shown:
            views = self.query_one(ViewList)
            self.set_focus(views.rows if views.display else None)
        return shown

    # --- opening and leaving -------------------------------------------------------------------------------------

    def _open(self) -> None:
        from tui.screens.opening import OpenScreen

        if self._mapping is None or self._store is None:
            return
        if self._mapping.refusals:
            self.say(f"This is refused: {self._mapping.refusals[0]}", "warn")
            return
        store, mapping = self._store, self._mapping
        named = {r.recorded.mount: r.device.device for r in mapping.rows if r.device is not None}
        line = words(store, named, devices=self._wish.devices, shares=self._shares, adopt=self._choices.adopt,
                     merged=[r.recorded.mount for r in mapping.rows if r.state == MERGED])
        if self._point is not None and self._point != store.newest:
            line[2:2] = ["--point", self._point.id]

        def agreed(yes: bool | None) -> None:
            if yes:
                self.rollpoint.go_on_with = line
                self.app.exit(0)

        self.app.push_screen(OpenScreen(store, mapping, adopt=self._choices.adopt), agreed)

    def action_leave(self) -> None:
        """Stop looking; put the line away; else go back."""
        if self._close_share():
            return
        if self._busy:
            self._work.job.cancel()
            self.query_one(ProgressPanel).note("Stopping, one moment ...")
        else:
            self.action_close()

    def action_close(self) -> None:
        """Back to the points; the app ends where this is its first screen."""
        self._work.job.cancel()
        if len(self.app.screen_stack) > 1:
            self.dismiss(None)
        else:
            self.app.exit(0)
