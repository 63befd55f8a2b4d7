"""`python -m lib_unet_viz`: the command line."""

from __future__ import annotations

import sys

from lib_unet_viz.cli import main

if __name__ == "__main__":
    sys.exit(main())
