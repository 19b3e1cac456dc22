"""All sweeps, a file each: `sweep()` returns the complete definition, which is named after the
file."""
