"""What confines a run: limits.py has every limit, run_plan.py every step in its order, the rest is how each step works.

kernel.py makes system calls, plan.py and plan.c put them down and carry them out later; root.py is the file system that
runs see, workspaces.py and uids.py what each run has for itself.
"""
