"""``python -m lake query|queries|glue|compact|retain``."""

from __future__ import annotations

import sys

from lake.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
