"""Which points there are: what `rollpoint list` asks, and every screen first. It stands on little, so that the shortest
command does not wait for all that the others need; engine/reading.py goes on from here."""

from __future__ import annotations

import os

from engine import backends
from engine.backends import Listing, Trouble
from engine.dispatch import REPLICA
from engine.errors import RollpointError, UsageError
from engine.points import RestorePoint
from engine.replica import layout, listed
from engine.session import Session, clean_errors
from engine.text import message


class Lister(Session):
    """What the list of points takes. Every method raises RollpointError."""

    def interrupted(self) -> str:
        """Return a sentence about a rollback that was not finished, or "": cheap enough for every command."""
        if not self._holds(layout.ROLLBACK):
            return ""
        from engine import rollback

        return rollback.interrupted(self._store)

    def ordered(self) -> str:
        """Return a sentence about a rollback that is ordered for the next boot, or "": cheap as well."""
        if not self._holds(layout.NEXT_BOOT):
            return ""
        from engine import nextboot

        return nextboot.pending(self._store)

    def _holds(self, name: bytes) -> bool:
        return os.path.exists(os.path.join(os.path.realpath(os.fsencode(self.config.store)), name))

    def points(self) -> list[RestorePoint]:
        """Return all points of the replica, newest first, damaged ones included."""
        return listed.points(self._settled())

    def listing(self, backend: str | None = None) -> Listing:
        """Return the points of all backends (or of one), newest first, and which backends could not be asked, and why.
        Raises what `points` does where there is nothing but a store that cannot be read."""
        if backend == REPLICA:
            return Listing(tuple(self.points()))
        if backend is None and not backends.any_wanted(self.config):
            return Listing(tuple(self.points()))
        with clean_errors():
            return backends.listing(self.config, only=backend) if backend is not None else self._everything()

    def _everything(self) -> Listing:
        try:
            return backends.listing(self.config, self.points())
        except RollpointError as error:
            found = backends.listing(self.config)
            if not found.points:
                raise
            store = os.path.realpath(os.fsencode(self.config.store))
            if isinstance(error, UsageError) and layout.unmounted(store) is None:
                return found        # who only wants the storage's own points never makes a store
            trouble = Trouble(REPLICA, message(error.message), message(error.hint))
            return Listing(found.points, (trouble, *found.troubles))

    def storage_points(self) -> Listing:
        """Return what `listing` does without the points of the replica: nobody need wait for the storage to see those.
        Costs nothing where there is no such storage."""
        if not backends.any_wanted(self.config):
            return Listing(())
        with clean_errors():
            return backends.listing(self.config)
