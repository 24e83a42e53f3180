"""``python -m dashboard --lake PATH``: the page, on loopback, for as long as the command runs."""

from __future__ import annotations

import sys

from dashboard.serve import main

if __name__ == "__main__":
    main(sys.argv[1:])
