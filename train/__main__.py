"""`python -m solo_rt.train` is `solo-rt train`: what torchrun starts on each of its processes."""

from __future__ import annotations

import sys

from solo_rt.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
