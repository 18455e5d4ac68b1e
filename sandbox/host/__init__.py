"""The sandbox in its host process: pool.py keeps processes that wait for a job, child.py follows one run.

logs.py and streams.py handle what a run sends; verdict.py decides how it ended.
"""
