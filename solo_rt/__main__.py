"""`python -m solo_rt` is the command `solo-rt`."""

from solo_rt.cli import main

main()
