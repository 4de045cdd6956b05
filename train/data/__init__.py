"""Training data: the procedural world (numpy and OpenCV only) and the tensors the training loop consumes."""
