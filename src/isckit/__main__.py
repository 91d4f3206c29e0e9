"""`python -m isckit` is the command `isckit`."""

import sys

from isckit.cli.main import main

sys.exit(main())
