"""`python -m sesame` is `sesame`."""

from sesame.cli import main

main(prog_name="sesame")
