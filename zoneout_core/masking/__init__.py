"""Masks: random streams, mask programs, and the tensors that programs become."""
