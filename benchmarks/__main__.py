"""``python -m benchmarks`` is ``python -m benchmarks.all``."""

from benchmarks.all import main

main()
