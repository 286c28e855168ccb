"""`python -m raresearch.cli`."""

from raresearch.cli.main import main

main()
