"""Training data: published data sets, a user's own, the procedural world, and the tensors made of them."""
