"""Spark's Python daemon, from which its workers are forked, with what a scoring worker imports.

A worker that takes the place of a dead one is born with its libraries. Inference runtimes are left to the workers: they
start threads, which a fork leaves behind.
"""

from __future__ import annotations

import gc

import pyspark.worker  # noqa: F401 - for the workers
from pyspark.daemon import manager

import streaming.worker  # noqa: F401 - for the workers

if __name__ == "__main__":
    # what is here for good is not looked through, and so not copied, in each worker
    gc.collect()
    gc.freeze()
    manager()
