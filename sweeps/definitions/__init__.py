"""The sweeps that exist, one file each: `sweep()` returns the complete definition, the file's name
is its name."""
