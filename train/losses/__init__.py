"""What networks are trained towards: targets, losses and what they read of the raw outputs."""
