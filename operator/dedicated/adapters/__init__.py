"""
The only input and output: the API server (`kube`), the hub (`hub`, `fetch`), and one endpoint's world as a pass sees it (`world`).

Foreign exceptions stop here: each client has one table that turns them into ours.
"""
