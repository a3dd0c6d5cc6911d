"""``python -m storage_server`` is ``holdfast``."""

import sys

from storage_server.cli import main

sys.exit(main())
