"""Runs a source through a model: `stream` gives the results to Python, `run` to sinks, `Pipeline` opens all by name.

    source -> read -> prepare -> infer -> decode -> render -> hooks -> sinks
             thread   thread    threads  thread    thread    caller    a thread each

Every arrow between two threads is a `Channel`. Inference has a thread per lane of the engine and gives frames on in
their order. With a `FrameEngine`, whose work is on a GPU, infer is prepare and the painting of masks as well; render
writes the labels. A stage takes a frame only when there is room for its result, so that the frames of a live source
wait where newer ones can still replace them. On an engine that several sources share they wait there for their turns as
well, and one thread prepares and infers. A frame on which a stage fails is left out, or ends the run: the frames before
it are still handed out, then the exception is raised on the caller's thread with the stage's name. A sink that fails
ends alone.
"""

from __future__ import annotations

from solo_rt.pipeline.opening import Pipeline
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.running import Hooks, run
from solo_rt.pipeline.streaming import stream

__all__ = ["Hooks", "Options", "Pipeline", "run", "stream"]
