"""`python -m heaptrail`."""

from heaptrail.cli import main

main()
