"""``python -m pipeline --job=JOB.yaml --runner=DirectRunner [any Beam option]``."""

from __future__ import annotations

import sys

from pipeline.launch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
