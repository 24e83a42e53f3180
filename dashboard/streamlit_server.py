"""``python -m dashboard.streamlit_server``: Streamlit's own command line, with what the page needs.

Streamlit runs the page when the first reader comes; then they would wait for these imports too.
"""

from __future__ import annotations

import sys

import altair  # noqa: F401 - imported to be there
import pandas  # noqa: F401
from streamlit.web.cli import main

import lake.reader  # noqa: F401

if __name__ == "__main__":
    sys.exit(main(prog_name="streamlit"))
