"""`python -m edge_effnet` is the command line."""

import sys

from edge_effnet.cli import main

sys.exit(main())
