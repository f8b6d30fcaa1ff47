"""The promise itself, as functions over a history: every point brings back the state that was taken."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings

from engine.events import Job
from tests.engine.harness import Bench, discard
from tests.engine.shell import SHELLS, run_script, script_copy, toolbox
from tests.histories import History, apply, history, some
from tests.oracle import differences, must_equal, record

Check = Callable[[Bench, History], None]
CHUNK = 10


def budget(share: float) -> int:
    """Return how many chunks of histories a variant runs: its share of ROLLPOINT_HISTORIES (default 120)."""
    return max(1, round(int(os.environ.get("ROLLPOINT_HISTORIES", "120")) * share / CHUNK))


def run_chunk(check: Check, place: str, number: int, *, privileged: bool = True) -> None:
    """Run `check` on a chunk of random histories, always the same ones for the same number.

    A failing history is shrunk (unless ROLLPOINT_SHRINK=0) and printed so that it can be pasted into a test.
    """
    phases = [Phase.explicit, Phase.generate] + (
        [Phase.shrink] if os.environ.get("ROLLPOINT_SHRINK") != "0" else []
    )

    @seed(number)
    @settings(
        max_examples=CHUNK,
        database=None,
        deadline=None,
        phases=phases,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(history(privileged=privileged))
    def random(what: History) -> None:
        run_one(check, place, what, privileged=privileged)

    random()


def run_one(check: Check, place: str, what: History, *, privileged: bool = True) -> None:
    """Run `check` on one history, in a directory of its own."""
    where = tempfile.mkdtemp(dir=place)
    os.chmod(where, 0o755)
    try:
        bench = Bench(where, privileged=privileged)
        check(bench, what)
    except Exception as error:
        error.add_note(f"the history was: {what!r}")
        raise
    finally:
        discard(where)


def deletions(bench: Bench, what: History) -> None:
    """Points go, at random places, in the middle, the newest and the oldest; all others stay exact."""
    bench.play(what)
    dice = iter(what.dice)
    for _ in range(2):
        middle = 1 + next(dice) % (len(bench.order) - 2)
        bench.delete(bench.order[middle])
        bench.check(bench.order[max(0, middle - 2) : middle + 1])
    bench.delete(bench.order[-1])
    bench.check(bench.order[-2:])
    apply(bench.world, some(next(dice), privileged=bench.world.privileged))
    bench.take()
    bench.delete(bench.order[0])
    both = next(dice) % (len(bench.order) - 2)
    bench.delete(bench.order[both], bench.order[both + 1])
    bench.check()


def catalog(bench: Bench, what: History) -> None:
    """All points are exact; and again when the catalog was lost and rebuilt from the store."""
    bench.play(what)
    bench.check()
    for name in os.listdir(bench.store):
        if name.startswith("catalog.sqlite"):
            os.unlink(os.path.join(bench.store, name))
    assert bench.engine().repair(Job()).left == ()
    apply(bench.world, some(what.dice[0], privileged=bench.world.privileged))
    bench.take()
    bench.check()
    damage = bench.engine().verify(bench.engine().points(), Job(), data=True).damage
    assert damage == (), f"verify finds damage where there is none: {damage}"


def there_and_back(bench: Bench, what: History) -> None:
    """The live tree rolls back to a random point, then on to others; points taken on the way stay exact."""
    bench.play(what)
    dice = iter(what.dice)
    apply(bench.world, some(next(dice), privileged=bench.world.privileged))
    for target in (next(dice) % len(bench.order), len(bench.order) - 1, next(dice) % len(bench.order)):
        roll(bench, bench.order[target])
    apply(bench.world, some(next(dice), privileged=bench.world.privileged))
    bench.take()
    bench.check(
        {bench.order[0], bench.order[-1], bench.order[-2], *bench.order[-4:], bench.order[next(dice) % 8]}
    )


def roll(bench: Bench, target: str) -> None:
    """Roll the live tree to a point; the safety point must bring back what was there before."""
    before = record(bench.live)
    engine = bench.engine()
    plan = engine.plan(engine.resolve(target), ["system"], Job())
    assert not plan.blocked, plan.findings
    job = Job()
    result = engine.rollback(plan, job)
    assert job.warnings == []
    bench.check_live(target)
    assert result.verified and result.differences == ()
    if result.safety_point is not None:
        bench.remember(result.safety_point.id, before)
    else:
        kept = any(not differences(before, facts) for facts in bench.records.values())
        assert kept, "no safety point, and what was there is in no other point"


def by_script(bench: Bench, what: History) -> None:
    """restore.sh alone rebuilds every point (an ordinary user: some), also after deletions; shells take turns."""
    bench.play(what)
    dice = iter(what.dice)
    shell = sorted(SHELLS)[next(dice) % len(SHELLS)]
    tools = toolbox(os.path.join(bench.place, "tools"), shell)
    script = script_copy(bench.place)
    bench.engine().annotate(bench.engine().resolve(bench.order[2]), pinned=True)
    for _ in range(next(dice) % 3):
        bench.delete(bench.order[1 + next(dice) % (len(bench.order) - 2)])
    if next(dice) % 3 == 0:
        bench.delete(bench.order[-1])
    points = bench.order if bench.world.privileged else [bench.order[next(dice) % 5], bench.order[-2], bench.order[-1]]
    for point in points:
        out = os.path.join(bench.place, "by-script")
        done = run_script(tools, bench.store, point, out, script=script)
        assert done.returncode == 0, f"{shell}, point {point}: {done.stdout}{done.stderr}"
        which = f"{shell}: point {bench.order.index(point) + 1} of {len(bench.order)} came back different"
        must_equal(bench.records[point], record(out), which)
        discard(out)
