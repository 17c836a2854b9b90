"""`python -m pairjepa` is `pairjepa`."""

import sys

from pairjepa.cli import main

sys.exit(main())
