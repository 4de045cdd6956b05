"""Figures that anyone can repeat: what a model does on this machine, layer by layer, with what else there is to know.

Nothing is measured once: the laps of all that is measured take turns, so that what the machine does beside falls on all
alike and shows as the spread between laps. No lap and no frame is left out of the figures.
"""
