"""The plug is pulled at random moments of a rollback; the rescue system finishes it, and the result is exact."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.image import Image
from tests.lab.layouts import rescue
from tests.lab.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more]

_LAYOUTS = ("bios-mbr", "bios-lvm", "uefi", "bios-gpt")
_JOURNAL = f"{steps.STORE}/rollback.yaml"
PULLS = int(os.environ.get("ROLLPOINT_LAB_PULLS", "2"))
SEED = int(os.environ.get("ROLLPOINT_LAB_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


def _cases() -> list[object]:
    layouts = [(n, _LAYOUTS[n % len(_LAYOUTS)]) for n in range(PULLS)]
    return [pytest.param(name, n, id=f"{name}-{n + 1}", marks=pytest.mark.xdist_group(name)) for n, name in layouts]


@pytest.mark.parametrize(("layout", "number"), _cases())
def test_a_rollback_cut_short_is_finished_from_the_rescue_system(lab_image: Image, lab: Lab, layout: str, number: int
                                                                 ) -> None:
    """Every other time the cut comes only after the journal is written, so that it hits the writing itself."""
    case = lab(layout)
    sectors, table = steps.boot_sectors(case.system), case.system.table()
    steps.ruin_files(case.system)
    steps.ruin_sectors(case.system)
    moments = random.Random(SEED + number)
    with rescue(lab_image, case.system.disk, case.store) as machine:
        steps.come_up(machine)
        steps.mount_target(machine, case.system)
        machine.sh(f"python3 {steps.KIT} --store {steps.STORE} --root /mnt rollback latest --yes >/run/said 2>&1 &")
        wait = _until_cut(machine, case.seconds["snapshot"], moments, late=number % 2 == 0)
        said = machine.sh("cat /run/said")
        machine.pull_the_plug()
    print(f"seed {SEED}: the plug was pulled {wait}; until then it had said: {said[-300:]}")
    with steps.rescued(lab_image, case) as machine:
        done = steps.go_back(machine, "--resume", check=False)
        text = (done.out + done.err).decode("utf-8", "backslashreplace")
        if done.rc == 2 and "nothing to resume" in text:        # it had not begun, or was done
            print("there was nothing to resume")
            done = steps.go_back(machine, case.point, check=False)
            text = (done.out + done.err).decode("utf-8", "backslashreplace")
        assert done.rc == 0, text
        steps.rollpoint(machine, "--root", "/mnt", "verify", where=steps.KIT)
    steps.must_be_back(case, table, sectors)
    steps.must_boot(case.system)


def _until_cut(machine: Machine, seconds: float, moments: random.Random, *, late: bool) -> str:
    """Wait for the moment to pull the plug, and say which it is. `seconds` is what a snapshot takes here: a rollback
    takes about as long, and half of that is the writing."""
    if not late:
        moment = moments.uniform(0, seconds)
        time.sleep(moment)
        return f"{moment:.1f} s after the start"
    machine.sh(f"until [ -e {_JOURNAL} ]; do sleep 0.1; done", timeout=600)
    moment = moments.uniform(0, seconds / 3)
    time.sleep(moment)
    return f"{moment:.1f} s after the journal was written"
