"""What confines a run: limits.py has every limit, run_plan.py every step in order, the rest how each step works.

kernel.py makes system calls; plan.py and plan.c record them and carry them out later; root.py is the file system that
runs see, workspaces.py and uids.py what each run has for itself.
"""
