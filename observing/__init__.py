"""What happens, as typed events: logs and metrics are made of them here. Imports nothing of ours.

`events` lists what can happen, `stream` passes it on, `logs` writes log lines, `metrics` counts, `admin` serves.
"""
