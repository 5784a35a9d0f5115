"""`python -m chatml`."""

from chatml.cli import main

main()
