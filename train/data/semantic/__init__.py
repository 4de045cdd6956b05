"""Semantic data sets: readers (numpy and OpenCV only), augmentation, and the tensors of training (`training`)."""
