"""What several test files share. Imported before numpy and torch: their idle threads spin, which on shared cores costs
minutes.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
