"""The models that ship with solo-rt."""
