"""Orchestration: definitions, drivers, lane servers, the command line. No other package imports
ray.

Nothing heavy is imported here, so that `sweep --help` answers at once.
"""
