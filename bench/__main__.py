"""python -m bench NAME runs the benchmark bench/NAME.py; without a name, the one over HTTP that `make bench` runs."""

import importlib
import sys

name = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "http_noop"
importlib.import_module(f"bench.{name}").main()
