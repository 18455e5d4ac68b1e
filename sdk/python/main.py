"""Serves one run in a process of its own: python -I main.py [descriptor of the channel, default 3]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from zmesh_runtime import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
