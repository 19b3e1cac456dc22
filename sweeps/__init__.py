"""Orchestration: definitions, drivers, lane servers, the command line. The only package that
imports ray.

Nothing heavy is imported here, so that `sweep --help` answers at once.
"""
