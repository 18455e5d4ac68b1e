"""Everything that happens, as typed events, from which logs and metrics are made. Imports nothing of ours.

`events` lists what can happen, `stream` passes it on, `logs` writes log lines, `metrics` counts, `admin` serves both.
"""
