"""Masks: random streams, the program of a regularizer, and the tensors that it becomes."""
