"""
Pure: evidence from the cluster -> one cause.

`evidence` holds the facts. `diagnose` has the ordered checks on pods, `conclude` the same without a cluster. A log goes through `lines` (what was
said, without what carried it), `signatures` and `causes` (the table), `markers` (where in its life the engine was), `classify` (the rules of
context), `numbers` and `explain` (in words). `killed` knows the ends that no log tells, `redact` what must not be shown.
"""
