"""Owners of cameras that are there, fall silent and are lost as a test says."""

from __future__ import annotations

from dataclasses import replace

from solo_rt.cluster.camera import Figures

LIVE = Figures("live", read=10, processed=10, seconds=0.01, offered=10.0)


class FakeOwner:
    def __init__(self, name, *, opens, looks, said):
        self.name, self.place, self.cameras = name, "", ()
        self.is_lost = self.is_silent = self.is_finishing = self.is_ended = False
        self._opens, self._looks, self._said = opens, looks, list(said)  # after so many looks at it, it is ready

    def own(self, cameras, outputs):
        self.cameras = tuple(cameras)

    def hear(self):
        if self.is_lost or not self._opens:
            raise EOFError
        if not self.place:
            self._looks -= 1
            self.place = "" if self._looks else "here"
            return None
        if self.is_silent:
            return None
        if self._said[0] is None:
            raise EOFError
        told = {camera.name: self._figures(camera) for camera in self.cameras}
        if len(self._said) > 1:
            self._said.pop(0)
        return told

    def newest(self, camera):
        return f"{self.name}'s of {camera}"

    def finish(self):
        self.is_finishing = True

    def ends(self, seconds):
        self.finished_within = seconds
        assert self.is_finishing
        return {camera.name: replace(self._figures(camera), state="ended") for camera in self.cameras}

    def end(self):
        self.is_ended = True

    def _figures(self, camera):
        said = self._said[0]
        return said if isinstance(said, Figures) else said.get(camera.name, LIVE)


class FakeOwners:
    """Owners in turn are ready after so many `looks`, and tell what is `said` of all cameras or of each; None: lost."""

    def __init__(self, size, *, opens=True, looks=(1,), said=((LIVE,),)):
        self.size, self.hired, self._opens, self._looks, self._said = size, [], opens, looks, said

    def hire(self):
        number = len(self.hired)
        looks, said = self._looks[number % len(self._looks)], self._said[number % len(self._said)]
        self.hired.append(FakeOwner(f"owner{number}", opens=self._opens, looks=looks, said=said))
        return self.hired[-1]

    def close(self):
        pass
