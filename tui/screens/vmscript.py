"""What makes a VM anew, as commands of Oracle VM Manager or a file for `xl create`: to look at, to fill in, to save."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, Static

from engine.errors import RefusedError, UsageError
from engine.events import Job
from engine.vms.inventory import Machine
from engine.vms.recreate import TARGETS, Script, script
from tui.savefile import save_new
from tui.screens.base import BaseScreen
from tui.screens.job import FORM, JobDialog
from tui.text import Line, Segment, content, error_lines, field, fit, plural
from tui.vmwords import plain
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import Row
from tui.widgets.statusline import StatusLine
from tui.widgets.viewlist import ViewList

_MARK = re.compile(r"@[A-Z0-9_]+@")


class ScriptRows:
    """The lines of a script, then in sentences what has to be filled in or seen to by hand."""

    def __init__(self, made: Script) -> None:
        self.made = made
        self.amount: int | None = len(made.unknown)
        self._rows: list[Segment] = [(line, "warn" if _MARK.search(line) else "") for line in made.lines]
        if made.unknown:
            self._rows += [("", ""), ("To fill in or to see to by hand:", "head"), *((u, "warn") for u in made.unknown)]

    def __len__(self) -> int:
        return len(self._rows)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    def row(self, index: int, width: int) -> Row:
        """One line, cut at the width; the line below the list has it whole."""
        text, look = self._rows[index]
        return [(" " + fit(text.expandtabs(), max(1, width - 2)), look)]

    def line(self, index: int) -> list[Segment]:
        """The line whole, or what its marks stand for."""
        text, look = self._rows[index]
        marks = set(_MARK.findall(text)) if index < len(self.made.lines) else set()
        said = [why for why in self.made.unknown if why.split(":")[0] in marks]
        return [("; ".join(said), "warn")] if said else [(text, look)]

    def bridge(self, index: int) -> str:
        """The bridge whose network is to be named in a line, "" for none."""
        text = self._rows[index][0] if index < len(self._rows) else ""
        for why in self.made.unknown:
            found = re.search(r"\(--network (.*)=NAME\)", why)
            if found and (why == text or why.split(":")[0] in _MARK.findall(text)):
                return found[1]
        return ""


class ScriptScreen(BaseScreen[None]):
    """The scripts for one VM, a list for each release of the Manager and one for xl."""

    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "close", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(len(TARGETS))),
        Binding("right,l", "turn_view(1)", show=False), Binding("left,h", "turn_view(-1)", show=False),
        Binding("n", "name", show=False), Binding("p", "pool", show=False), Binding("w", "save", show=False)]
    KEYS = (("1 to 4, left right", "for Oracle VM Manager 3.4, 3.3, 3.2; for xl create"),
            ("n", "name a network: what the Manager calls the one of a bridge"), ("p", "name the server pool"),
            ("w", "save the script to a file"), ("esc", "back"), ("q", "back"))
    NOTES = ("@WHAT@ stands for what a vm.cfg does not say, or what is not shown (passwords): the line below the list, "
             "and the end of the list, say what it is.",
             "Nothing is run: the script is for the Manager's CLI (ssh -p 10000), or for xl create.")

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine
        self._networks: dict[str, str] = {}
        self._pool = ""
        self._typing = ""       # "pool" or "network": what the line is for

    def compose(self) -> ComposeResult:
        """Header, which VM, scripts, answers, the line for names, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield ViewList(id="scripts")
        yield StatusLine(id="status")
        yield LineInput(max_length=200, id="name")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Make them: that takes no time."""
        self.query_one("#name").display = False
        self._fill()
        self.query_one(ViewList).rows.focus()

    def _fill(self) -> None:
        made = [(target, ScriptRows(script(self._machine, target, self._networks, self._pool))) for target in TARGETS]
        self.query_one(ViewList).show(made, keep=True)
        self._say()

    def _made(self) -> ScriptRows:
        source = self.query_one(ViewList).rows.source
        assert isinstance(source, ScriptRows)
        return source

    @property
    def target(self) -> str:
        """The release of the Manager, or xl, whose script is shown."""
        return TARGETS[self.query_one(ViewList).bar.current]

    def _say(self) -> None:
        gaps = len(self._made().made.unknown)
        what = "xl create" if self.target == "xl" else f"Oracle VM Manager {self.target}"
        self.query_one("#subject", Static).update(content(
            ("What makes ", "head"), (self._machine.name, "strong"), (f" anew, for {what}", ""),
            (f"   {plural(gaps, 'gap')} to fill in" if gaps else "   nothing is missing",
             "warn" if gaps else "good")))
        self.query_one("#status", StatusLine).show(
            [("Named: ", "dim"), (", ".join([*(f"{bridge} is {name}" for bridge, name in self._networks.items()),
                                             *([f"pool {self._pool}"] if self._pool else [])]), "")]
            if self._networks or self._pool else [("Nothing is run from here.", "dim")])
        manager = [] if self.target == "xl" else [Hint("n", "Name a network", "screen.name", 2),
                                                  Hint("p", "Name the pool", "screen.pool", 2)]
        self.query_one("#keys", KeyBar).show([
            Hint("w", "Save", "screen.save"), *manager, Hint("1-4", "For 3.4, 3.3, 3.2, xl", weight=3),
            Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")])

    @on(ViewList.Turned)
    def _turned(self, event: ViewList.Turned) -> None:
        event.stop()
        self._say()

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one("#status", StatusLine).answer(text, look)

    # --- names ---------------------------------------------------------------------------------------------------

    def _bridge(self) -> str:
        """The bridge to name: that of the line under the cursor, or the first that has no name yet."""
        rows, bridges = self._made(), [nic.bridge for nic in self._machine.facts.nics if nic.bridge]
        under = rows.bridge(self.query_one(ViewList).rows.cursor)
        return next((bridge for bridge in bridges if plain(bridge) == under), None) or next(
            (bridge for bridge in bridges if bridge not in self._networks), bridges[0] if bridges else "")

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        if action in ("name", "pool") and self.target == "xl":
            return "xl knows neither networks of a Manager nor pools."
        if action == "name" and not self._bridge():
            return "It has no network interface with a bridge."
        return ""

    def action_name(self) -> None:
        """Name the network of a bridge."""
        self._type("network", f"what the Manager calls the network of {plain(self._bridge())}",
                   self._networks.get(self._bridge(), ""))

    def action_pool(self) -> None:
        """Name the server pool."""
        self._type("pool", "what the Manager calls the server pool", self._pool)

    def _type(self, what: str, asked: str, value: str) -> None:
        why = self.why_not("name" if what == "network" else what)
        if why:
            self.say(why, "warn")
            return
        self._typing = what
        line = self.query_one("#name", LineInput)
        line.placeholder, line.value = asked, value
        self.open_line(line)

    @on(Input.Submitted, "#name")
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        if self._typing == "pool":
            self._pool = event.value
        else:
            bridge = self._bridge()
            self._networks = {b: name for b, name in self._networks.items() if b != bridge}
            self._networks |= {bridge: event.value} if event.value else {}
        self._close_line()
        self._fill()

    def _close_line(self) -> None:
        self.query_one("#name").display = False
        self.query_one(ViewList).rows.focus()

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_save(self) -> None:
        """Save the script that is shown."""
        made = self._made().made
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", self._machine.name).strip("._") or "vm"
        suffix = ".cfg" if self.target == "xl" else f"-{self.target}.txt"
        self.app.push_screen(SaveScreen(made.lines, f"/root/{name}{suffix}", len(made.unknown)))

    def action_view(self, index: int) -> None:
        """Show another script."""
        self.query_one(ViewList).bar.choose(index)

    def action_turn_view(self, by: int) -> None:
        """Show the next or the previous script."""
        self.query_one(ViewList).bar.step(by)

    def action_leave(self) -> None:
        """Away with the line to type into; back."""
        if self.query_one("#name").display:
            self._close_line()
        else:
            self.dismiss(None)

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)


class SaveScreen(JobDialog[str]):
    """Writes lines into a new file whose name is typed. Dismissed with the file's path."""

    HEADING = "Save the script"
    WORKING = "a script is being saved"
    FORM_HINTS = (Hint("enter", "Save", "screen.enter"),)
    KEYS = (("enter", "write the file"), ("esc", "leave without writing"))

    def __init__(self, lines: Sequence[str], name: str, gaps: int) -> None:
        super().__init__()
        self._lines, self._file, self._gaps = tuple(lines), name, gaps

    def form(self) -> ComposeResult:
        """The name of the file."""
        yield Static("Into which file of this machine? It must not be there yet.", markup=False)
        yield LineInput(self._file, max_length=1000, id="file")
        yield Fields(id="why")

    def begin_form(self) -> None:
        """The name first."""
        self.query_one("#why").display = False
        self.query_one("#file", LineInput).focus()

    def _explain(self, rows: list[Line]) -> None:
        self.query_one("#why", Fields).show(rows)
        self.query_one("#why").display = bool(rows)

    @on(Input.Submitted, "#file")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.start()

    def prepare(self) -> bool:
        """Read the name."""
        self._file = self.query_one("#file", LineInput).value
        if not self._file.startswith("/"):
            self._explain([content(("Type a whole path, beginning with /.", "warn"))])
            return False
        self._explain([])
        return True

    def run_job(self, job: Job) -> str:
        """Write it."""
        return save_new(self._file, "".join(f"{line}\n" for line in self._lines))

    def _failed(self, error: BaseException) -> None:
        """Nothing was written: another name may do."""
        if not isinstance(error, OSError | UsageError | RefusedError):
            super()._failed(error)
            return
        self._end()
        self.go(FORM)
        self._explain(error_lines(error))
        self.query_one("#file", LineInput).focus()

    def describe(self, result: str) -> list[Line]:
        """Where it is, and what is still to be done to it."""
        rows: list[Line] = [content((f"{plural(len(self._lines), 'line')} saved", "good"), "."), field("File", result)]
        if self._gaps:
            rows.append(field("Fill in", (f"{plural(self._gaps, 'thing')}: marked @LIKE THIS@ where it is a word",
                                          "warn")))
        return rows
