"""The sandbox in the process that uses it: pool.py has the processes that wait for a job, child.py follows one run.

What a run sends goes through logs.py and streams.py; verdict.py says how it ended.
"""
