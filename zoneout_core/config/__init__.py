"""What decides a trial's numbers: every field, with its rule."""
