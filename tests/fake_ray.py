"""Ray and a cluster of it on the test's own thread."""

from __future__ import annotations

from types import SimpleNamespace


class LostError(Exception):
    """What Ray raises of an actor that is gone."""


class FakeRay:
    """Actors are objects, and what they say is there when somebody wants to know it; `is_silent` lets nobody answer."""

    exceptions = SimpleNamespace(RayActorError=LostError)
    address = "auto"

    def __init__(self, *machines):
        self.machines_, self.taken, self.killed, self.asked = machines, 0, [], []
        self.waited, self.given_to_get = [], []  # time limits
        self.is_gone = self.is_left = self.is_silent = False

    @property
    def ray(self):
        return self

    def remote(self, **settings):
        self.asked.append(settings)
        return lambda kind: SimpleNamespace(remote=lambda *told: FakeActor(kind(*told)))

    def wait(self, refs, *, timeout, num_returns=1, fetch_local=True):
        if self.is_gone:
            raise ConnectionError("gone")
        self.waited.append(timeout)
        assert num_returns <= len(refs), "Ray refuses to wait for more than there are"
        ready = 0 if self.is_silent else num_returns
        return refs[:ready], refs[ready:]

    def get(self, ref, timeout=None):
        self.given_to_get.append(timeout)
        return ref()

    def kill(self, actor):
        self.killed.append(actor)

    def machines(self):
        return list(self.machines_)

    def free_cpus(self):
        return sum(machine.cpus for machine in self.machines_) - self.taken

    def close(self):
        self.is_left = True


class FakeActor:
    """An object whose methods are called when somebody wants to know what they return; orders are obeyed at once."""

    def __init__(self, whole):
        self._whole = whole

    def __getattr__(self, name):
        method = getattr(self._whole, name)
        is_order = name in ("give", "own")
        return SimpleNamespace(remote=method if is_order else lambda *told: lambda: method(*told))


class LostActor:
    """An actor of which Ray says that it is lost, in these words."""

    def __init__(self, words):
        self._words = words

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *told: self._lose)

    def _lose(self):
        raise LostError(self._words)
