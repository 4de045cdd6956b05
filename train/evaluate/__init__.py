"""Metrics of what ships: pictures go through the run time's own engine and decoder, never through torch code."""
