"""Objects from frame to frame: where they are, and what they pass."""
