"""The process beside each run: supervisor.c where native code was built, else supervisor.py, which does the same."""
