"""What a rollback came to, in words. Pure: result in, text out."""

from __future__ import annotations

from textual.content import Content

from engine.results import RollbackResult
from tui.rollback_job import RunState
from tui.rollback_registry import Run
from tui.text import Line, called, content, error_lines, field, plural

_SHOWN, _WARNINGS_SHOWN = 200, 100


def rollback_rows(result: RollbackResult, run: Run | None = None) -> list[Line]:
    """Return what a rollback came to: what was applied, whether it holds, how to undo it, whether to boot."""
    undone = run is not None and run.verb == "undo"
    done = "Undone: back at" if undone else "Rolled back to"
    rows: list[Line] = [content((f"{done} point {called(result.point)}", "good"),
                                f": {plural(result.applied, 'change')} applied in {result.seconds:.1f} s.")]
    if result.verified:
        rows.append(content(("Verified: ", "good"), "every entry is as the point has it."))
    else:
        rows.append(content((f"NOT AS RECORDED: {plural(len(result.differences), 'difference')} left", "bad")))
        rows += [content("  ", line) for line in result.differences[:_SHOWN]]
        if len(result.differences) > _SHOWN:
            rows.append(content(f"  and {len(result.differences) - _SHOWN} more"))
        rows.append(content(("What to do: ", "strong"), "look at what is named; rolling back once more applies it "
                                                        "again."))
    return [*rows, Content(""), *_undo_rows(result, run), *_boot_rows(result), *_reboot_rows(result)]


def _boot_rows(result: RollbackResult) -> list[Line]:
    """What was written to boot sectors, whether the machine will boot now, and what speaks against it."""
    rows: list[Line] = [field("Written", line) for line in result.boot_applied]
    rows += [field("Adjusted", line) for line in result.adjusted]
    if result.boot is not None:
        look = {"yes": "good", "no": "bad"}.get(result.boot.answer, "warn")
        kernel = f" (kernel {result.boot.kernel})" if result.boot.kernel else ""
        rows.append(field("Boot", (result.boot.words, look), kernel))
        rows += [field("", (finding.text, "bad" if finding.level == "blocker" else "warn"),
                       f"  {finding.hint}" if finding.hint else "")
                 for finding in result.boot.findings if finding.level != "info"]
    return rows


def _undo_rows(result: RollbackResult, run: Run | None) -> list[Line]:
    if result.safety_point is not None:
        return [field("Undo", f"The state before it is point {called(result.safety_point)}: roll back to that one to "
                      "undo this.")]
    if run is None or run.verb == "undo":
        return []
    return [field("Undo", ("not possible: ", "warn"), "no safety point was taken")]


def _reboot_rows(result: RollbackResult) -> list[Line]:
    if not result.reboot:
        return []
    named = ", ".join(result.reboot[:5]) + (f" and {len(result.reboot) - 5} more" if len(result.reboot) > 5 else "")
    return [field("Reboot", ("seems due: ", "warn"), named)]


def ordered_rows(number: int) -> list[Line]:
    """Return what it means that a rollback to this point was ordered for the next boot."""
    return [content((f"Ordered: the rollback to point {number} is done at the next boot.", "good")), Content(""),
            content("Nothing has changed yet. What changes until then is lost as well."),
            field("To begin", ("systemctl reboot", "strong"), "  when it suits you; after it the machine boots again"),
            field("Take back", ("R", "strong"), " on the list of points, at any time before that"),
            field("Afterwards", "the next start of Rollpoint shows how it went")]


def ended_rows(state: RunState, run: Run | None) -> list[Line]:
    """Return the result or the error of a run, and what it warned of."""
    if state.result is not None:
        rows = rollback_rows(state.result, run)
    else:
        rows = error_lines(state.error or RuntimeError("no result"))
    if state.warnings:
        rows += [Content(""), content((plural(len(state.warnings), "warning") + ":", "warn"))]
        rows += [content("  ", line) for line in state.warnings[:_WARNINGS_SHOWN]]
        if len(state.warnings) > _WARNINGS_SHOWN:
            rows.append(content(f"  and {len(state.warnings) - _WARNINGS_SHOWN} more"))
    return rows


def left_rows(interrupted: str, holder: str) -> list[Line]:
    """Return what a run that failed has left behind, from the store's status afterwards."""
    if holder:
        return [content(("The store is in use now by ", "warn"), holder)]
    if interrupted:
        return [content(("Left half done: ", "bad"), interrupted),
                content(("What to do: ", "strong"), "leave this; going on with it and undoing it are then offered.")]
    return [content(("No rollback is left half done.", "good"))]
