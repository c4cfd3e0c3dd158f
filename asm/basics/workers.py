"""Worker processes that do not outlive the one that started them."""

import multiprocessing
import os
import signal
import threading


def start_worker() -> None:
    """What a worker does first: it leaves Ctrl-C to its parent, and ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)  # else it would wait for ever for a parent that was killed

    threading.Thread(target=end_with_parent, daemon=True).start()
