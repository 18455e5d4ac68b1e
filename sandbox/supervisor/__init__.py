"""The process beside each run: supervisor.c if native code was built, otherwise supervisor.py, which does the same."""
