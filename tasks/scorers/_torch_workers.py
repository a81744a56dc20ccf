"""Threads in which torch keeps to one core, without changing its count anywhere else in the process."""

from __future__ import annotations

import threading

from tasks.scorers._shared import Workers


def one_core_workers(num_threads: int) -> Workers:
    """`num_threads` threads, each of which runs torch's operations on itself alone."""
    import torch

    elsewhere = torch.get_num_threads()
    workers = Workers(num_threads, prepare=_one_thread_here)
    # Every thread of the pool starts now, so that the process-wide default can be put back at once.
    _start_all(workers, num_threads)
    torch.set_num_threads(elsewhere)
    return workers


def _one_thread_here() -> None:
    """Bind torch's intra-op work of the calling thread to one core.

    torch.set_num_threads sets OpenMP's count of the calling thread, and besides the default that a thread takes at its
    first use of torch. The caller puts that default back. Asking first is what makes this the thread's first use:
    otherwise the default, put back meanwhile, would overwrite the 1 later.
    """
    import torch

    torch.get_num_threads()
    torch.set_num_threads(1)


def _start_all(workers: Workers, num_threads: int) -> None:
    gate = threading.Barrier(num_threads)
    workers.map(lambda _: gate.wait(), range(num_threads))
