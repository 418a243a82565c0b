"""DATASET -> MODEL. The only part that may import torch, timm and albumentations.

OpenMP's threads, which torch computes with, by default spin while they wait for each other. Where any other process
wants a core, each step then waits for a thread that is not running: on two cores with three other busy processes a
small network trained at 12-15 images/s, and at 208-327 with waiting threads asleep; on an idle machine sleeping cost
4-8%. OpenMP reads this when torch is first imported.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
