"""How the processes of the sandbox talk: one table of all messages (table.py), and what encodes and decodes them.

frames.py is the host's side of the channel to a run; orders.py encodes what Python sends to templates and supervisors,
orders.c and messages.c are the same in C. Each SDK has its own side of the channel, since it imports nothing of ours:
sdk/python/zmesh_runtime/channel.py and sdk/javascript/lib/channel.js.
"""
