"""`python -m isckit` is the command `isckit`."""

import sys

from isckit.cli import main

sys.exit(main())
