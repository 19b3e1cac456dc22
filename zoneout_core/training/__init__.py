"""Lanes that come and go: updates, evaluations, checkpoints."""
