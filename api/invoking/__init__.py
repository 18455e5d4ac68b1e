"""A call from its request to its response: routes, payloads, options, the insert, waiting and streaming."""
