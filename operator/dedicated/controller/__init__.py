"""
The Kopf shell: watches feed a store and wake a queue, workers run passes, a Lease says who acts.

`handlers` holds every Kopf decorator, `queue` and `deadlines` say who is looked at and when, `reconcile` is the pass, `loop` the workers
around it, `resync` the
look at everything, `leader` the Lease, `health` the probes and metrics, `process` puts them together. Crash-only: whatever breaks ends the process.
"""
