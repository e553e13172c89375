"""`python -m cli` is `tollgate`."""

import sys

from cli.main import main

if __name__ == "__main__":
    sys.exit(main())
