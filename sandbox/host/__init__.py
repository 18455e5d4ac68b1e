"""The sandbox in its host process: pool.py takes requests to processes, parking.py has some wait beforehand, child.py
follows one run.

logs.py and streams.py handle what a run sends; verdict.py decides how it ended.
"""
