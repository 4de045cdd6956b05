"""What networks are made of: backbones, pyramids, poolings and convolutions."""
