"""A checkpoint as an engine: `exact` to measure it, `fast` to run it on CUDA."""
