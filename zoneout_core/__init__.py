"""The training core: zoneout recurrent networks, trained many lanes at a time.

Imports numpy and torch only, and neither of them here: `config`, `records`, `errors`, `registry` and the
metadata of `tasks` stay importable without torch, because the command line needs them at once.
"""
