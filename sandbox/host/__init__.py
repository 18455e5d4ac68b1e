"""The sandbox in its host process: pool.py assigns requests to processes, parking.py keeps some waiting,
child.py follows one run.

logs.py and streams.py handle what a run sends; verdict.py decides how it ended.
"""
