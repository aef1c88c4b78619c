"""`python -m smallworks.cli`, for a machine whose PATH lacks the command."""

from smallworks.cli import main

main()
