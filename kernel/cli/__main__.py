"""``python -m kernel.cli`` is ``realserv``."""

from kernel.cli.root import main

main()
