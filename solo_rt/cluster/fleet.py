"""A fleet: cameras that owners run, each with its share of the cost, and others in the place of those that are lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from solo_rt.cluster.assignment import assign
from solo_rt.cluster.camera import AGAIN_SECONDS, Camera, Figures
from solo_rt.cluster.owners import Owner, Owners
from solo_rt.errors import EngineError, UsageError

LOOK_SECONDS = 0.5  # between two looks at the owners
SILENT_SECONDS = 5.0  # after which an owner that says nothing is lost
GATHER_SECONDS = 15.0  # for all owners to be ready, before those that are share the cameras out
EVEN_SECONDS = 30.0  # between two looks at what cameras cost, while nobody comes or goes
FINISH_SECONDS = 2.5  # for all cameras to end
MOST_DEATHS = 3  # of owners one after the other that open the model
HIRE_SECONDS = 30.0  # from then on, between two more of them, as long as others run cameras

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """A camera, who owns it and where, empty for nobody, and how it is."""

    owner: str
    place: str
    figures: Figures
    newest: Callable[[], str] = lambda: ""  # returns its newest result as JSON, empty where there is none; may wait


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """How a fleet is at a moment."""

    cameras: Mapping[str, CameraStatus]
    owners: int  # that are ready
    lost: int  # of them, so far


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What became of a fleet."""

    cameras: Mapping[str, CameraStatus]
    lost: int  # owners that were ready
    moved: int  # cameras, from one owner to another
    longest_gap: float  # seconds from an owner's last word to the last of its cameras' running elsewhere
    seconds: float


@dataclass
class Fleet:
    """Cameras by name and address, and where their results go; see `Camera.outputs`."""

    sources: Mapping[str, str]
    outputs: Sequence[str]
    on_status: Callable[[FleetStatus], None] = lambda status: None
    clock: Callable[[], float] = time.monotonic

    def run(self, owners: Owners, stop: threading.Event) -> FleetReport:
        """Let the owners run all cameras until `stop` is set or all have ended, and return what happened.

        Raises: what keeps an owner from opening the model, and EngineError where one after the other dies of it, if no
        other one is ready.
        """
        watch = _Watch(self, owners)
        with closing(watch):
            while not stop.wait(LOOK_SECONDS) and not watch.is_over:
                watch.look()
            return watch.finish()


class _Watch:
    """Looks after owners while the fleet runs."""

    def __init__(self, fleet: Fleet, owners: Owners) -> None:
        self._fleet, self._hiring, self._clock = fleet, owners, fleet.clock
        self._cameras = {name: Camera(name, uri) for name, uri in fleet.sources.items()}
        self._figures = {name: Figures("connecting") for name in fleet.sources}
        self._owner_of: dict[str, str] = {}
        self._waiting: dict[str, float] = {}  # cameras of lost owners: since when
        self._owners: dict[str, Owner] = {}
        self._heard: dict[str, float] = {}  # when, by owner
        self._began = self._evened = self._hires_from = self._clock()
        self._lost = self._moved = self._deaths = 0
        self._longest = 0.0

    @property
    def is_over(self) -> bool:
        """Whether all cameras have ended by themselves."""
        return all(figures.is_over for figures in self._figures.values())

    def look(self) -> None:
        """Hear all owners, and see that every camera has one."""
        while len(self._owners) < self._hiring.size and self._clock() >= self._hires_from:
            owner = self._hiring.hire()
            self._owners[owner.name] = owner
        ready = {name for name, owner in self._owners.items() if owner.place}
        for owner in list(self._owners.values()):
            try:
                self._hear(owner, owner.hear())
            except EOFError:
                self._lose(owner)
            except UsageError as error:
                self._dismiss(owner, error)
        now_ready = {name for name, owner in self._owners.items() if owner.place}
        if self._owner_of:
            is_due = now_ready != ready or self._clock() >= self._evened + EVEN_SECONDS
        else:
            is_due = len(now_ready) >= self._hiring.size or self._clock() >= self._began + GATHER_SECONDS
        if is_due:
            self._share_out(now_ready)
        self._fleet.on_status(self._status())

    def finish(self) -> FleetReport:
        """Let all cameras end, and say what happened."""
        until, ready = self._clock() + FINISH_SECONDS, [owner for owner in self._owners.values() if owner.place]
        for owner in ready:
            owner.finish()
        for owner in ready:
            self._figures |= owner.ends(max(0.1, until - self._clock()))
        status = self._status()
        self._fleet.on_status(status)
        return FleetReport(status.cameras, self._lost, self._moved, self._longest, self._clock() - self._began)

    def close(self) -> None:
        """End all owners."""
        for owner in self._owners.values():
            owner.end()

    def _hear(self, owner: Owner, figures: Mapping[str, Figures] | None) -> None:
        """Take a report. Raises: EOFError if there has been none for too long."""
        now = self._clock()
        if owner.place and owner.name not in self._heard:
            self._heard[owner.name], self._deaths = now, 0
        if figures is None:
            if now > self._heard.get(owner.name, now) + SILENT_SECONDS:
                raise EOFError
            return
        self._heard[owner.name] = now
        for name, one in figures.items():
            if self._owner_of.get(name) == owner.name:
                before = self._figures[name]
                if one.state == "failed" and (before.state, before.reason) != (one.state, one.reason):
                    log.warning("%s: %s; it is tried again every %g s", name, one.reason, AGAIN_SECONDS)
                self._figures[name] = one
                if one.processed and name in self._waiting:
                    self._longest = max(self._longest, now - self._waiting.pop(name))

    def _lose(self, owner: Owner) -> None:
        """Take leave of an owner. Raises: EngineError where one after the other dies and nobody is ready."""
        del self._owners[owner.name]
        owner.end()
        if not owner.place:
            self._note_death(owner)
            return
        self._lost += 1
        self._deaths, self._hires_from = 0, self._clock()  # whatever others have died of, it is wanted more now
        mine = [n for n, who in self._owner_of.items() if who == owner.name and not self._figures[n].is_over]
        log.warning("%s on %s is lost; its %d cameras go to others", owner.name, owner.place, len(mine))
        for name in mine:
            self._waiting.setdefault(name, self._heard[owner.name])
            self._figures[name] = Figures("connecting", f"{owner.name} was lost")

    def _dismiss(self, owner: Owner, error: UsageError) -> None:
        """Do without an owner that cannot begin. Raises: the error, where no other one is ready."""
        if not any(other.place for other in self._owners.values()):
            raise error
        del self._owners[owner.name]
        owner.end()
        log.warning("%s; the others go on without it, and another one is tried in %g s", error, HIRE_SECONDS)
        self._hires_from = self._clock() + HIRE_SECONDS

    def _note_death(self, owner: Owner) -> None:
        """Note that an owner died before it was ready: of the model, or with a machine that is gone."""
        self._deaths += 1
        log.info("%s ended while it opened the model", owner.name)
        if self._deaths < MOST_DEATHS:
            return
        if not any(other.place for other in self._owners.values()):
            raise EngineError(f"{self._deaths} owners of cameras ended one after the other while they opened the model")
        self._hires_from = self._clock() + HIRE_SECONDS

    def _share_out(self, ready: set[str]) -> None:
        """Give every camera the owner that it is to have now."""
        self._evened = self._clock()
        known = [figures.cost for figures in self._figures.values() if figures.cost]
        usual = sum(known) / len(known) if known else 1.0
        costs = {name: figures.cost or usual for name, figures in self._figures.items() if not figures.is_over}
        before, after = self._owner_of, assign(costs, dict.fromkeys(ready, 1.0), self._owner_of)
        for name, owner in after.items():
            if before.get(name, owner) != owner:
                self._moved += 1
                camera = self._cameras[name]
                self._cameras[name] = Camera(camera.name, camera.uri, camera.turn + 1)
                was_lost = before[name] not in self._owners
                self._figures[name] = Figures("connecting", f"{before[name]} was lost" if was_lost else "")
        self._owner_of = {**before, **after}  # without owners, the last one of each: its files are not the next one's
        losing = {who for name, who in before.items() if after.get(name, who) != who}
        for who in sorted(ready, key=lambda name: (name not in losing, name)):  # who gives comes before who takes
            mine = [self._cameras[name] for name in sorted(after) if after[name] == who]
            self._owners[who].own(mine, self._fleet.outputs)

    def _status(self) -> FleetStatus:
        cameras = {}
        for name, figures in self._figures.items():
            owner = self._owners.get(self._owner_of.get(name, ""))
            if owner is None:
                cameras[name] = CameraStatus("", "", figures)
            else:
                cameras[name] = CameraStatus(owner.name, owner.place, figures, partial(owner.newest, name))
        ready = sum(owner.place != "" for owner in self._owners.values())
        return FleetStatus(cameras, ready, self._lost)
