"""Batch jobs, stages of chains, synchronous requests: who computes what, and what happens when somebody dies.

::

    API process      queue.py (start, cancel)      sync.py (slots) ──────────┐
    supervisor       worker.py, reaper.py                                    │ socket
    worker process   main.py: Celery threads, tasks.py, lease.py ────────────┤
    computing        child.py (GDAL, numba, dask), one per job  <────────────┘ process.py

The broker (`app.py`, `folder_broker.py`) only wakes workers; leases and states are in the database (`backend.store`).
A process that loses the one above it ends; one that loses the one below reports what it died of.
"""
