"""The process that runs are forked from (main.py), and the templates of each runtime that it starts.

It is Python and a little of C: python_template and node_template are booted runtimes, which fork by template.c.
"""
