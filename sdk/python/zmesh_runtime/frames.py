"""The kinds of frames between a run and its sandbox, as sandbox/protocol/table.py has them with their bodies."""

HEAD = ">cI"  # the kind, and the bytes of the body that follows
JOB, FILES, PAYLOAD = b"J", b"F", b"P"
IMPORTED = b"I"  # names of packages of its image
ATTACHMENT = b"D"  # asks for a descriptor, and answers that
LOG, RESULT, RESPONSE, ERROR = b"L", b"R", b"H", b"E"
STREAM, CHUNK, STREAMED = b"S", b"C", b"Z"  # the head of a response, its pieces, and its end
LARGEST_CHUNK = 64 * 1024
LONGEST_LINE = 64 * 1024  # bytes of a log line's message
