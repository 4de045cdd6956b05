"""Inference engines: anything that computes the raw outputs of a model for named input arrays."""

from solo_rt.engine.base import BACKENDS, Engine, find_model, open_engine, shipped_models

__all__ = ["BACKENDS", "Engine", "find_model", "open_engine", "shipped_models"]
