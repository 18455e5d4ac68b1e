"""The benchmark that `make bench` runs; the others are modules of their own: python -m bench.schedules URL, …"""

from bench.http_noop import main

main()
