"""All that a rollback puts right beyond the point's own bytes, where other file systems or disks are there: lines of
files (engine.adopting), and what makes the system start (engine.bootmaking)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine import adopting, bootmaking, bootpieces
from engine.adopting import Adopted, Adoption
from engine.bootmaking import Making
from engine.bootpieces import Pieces
from engine.config import Config
from engine.machine import bootcheck
from engine.points import RestorePoint
from engine.replica.catalog import Catalog
from engine.replica.layout import Store
from engine.results import Finding
from engine.scopes import Scope


@dataclass(frozen=True, slots=True)
class Adapted:
    """What becomes of boot sectors, and what is put right for other file systems than the recorded ones (nothing
    unless they are adopted). `then` is the system as it will be."""

    pieces: Pieces
    then: Adopted
    root: bytes
    adoption: Adoption = field(default_factory=lambda: Adoption((), ()))
    making: Making = field(default_factory=Making)

    @property
    def words(self) -> tuple[str, ...]:
        """Every line that is adjusted and every command that is run afterwards, for people."""
        return (*self.adoption.words, *self.making.words)

    def document(self) -> dict[str, list[Any]]:
        """Return what the journal has to hold; the commands are for people, and are found anew each time."""
        return self.adoption.document() | {"commands": list(self.making.words)}

    def findings(self, store: Store, config: Config, point: RestorePoint, scope: Scope) -> Iterator[Finding]:
        """Yield what the admin should know of it beforehand, and whether the system will boot."""
        yield from adopting.findings(self.adoption, self.then, self.root, boot=scope.boot)
        yield from self.making.findings
        yield from bootmaking.foreseen(self.pieces, self.making)
        written = (*self.pieces.disks, *(disk.path for disk in self.making.disks))
        foreseen = list(bootpieces.foresee(store, config, self.then, point, scope, written))
        if self.making.menu and foreseen:
            yield Finding("info", "whether it will boot is said afterwards: the boot menu is made anew")
            foreseen = [f for f in foreseen if f.level != "info" and not f.hint.startswith(bootcheck.NEW_MENU)]
        yield from foreseen


def look(store: Store, config: Config, catalog: Catalog, point: RestorePoint, scope: Scope,
         merged: Sequence[bytes] = (), *, adopt: bool = True) -> Adapted:
    """Return what there is to put right; nothing is touched."""
    root = os.path.realpath(os.fsencode(config.root))
    pieces = bootpieces.plan(store, config, point, scope)
    if not adopt:
        return Adapted(pieces, Adopted(Adoption((), ()), store, catalog, point.number, root, scope), root)
    adoption = adopting.look(store, config, catalog, point, scope, merged)
    then = Adopted(adoption, store, catalog, point.number, root, scope)
    making = bootmaking.look(store, config, point, scope, adoption, pieces, then, merged)
    return Adapted(pieces, then, root, adoption, making)
