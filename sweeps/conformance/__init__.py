"""Conformance of spaces and sweeps: see `zoneout_core.conformance`, whose tests are run too."""
