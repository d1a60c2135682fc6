"""Worker processes that end with the process that started them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading


def exit_with_parent() -> None:
    """Ends this process as soon as the one that spawned it has ended in any way."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
    if sys.platform == "linux":
        # A process that is stopped cannot watch, but the kernel can.
        pr_set_pdeathsig = 1  # of prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
