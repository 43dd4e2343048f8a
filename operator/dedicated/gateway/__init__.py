"""
The gateway: Envoy carries every byte, and a small service of ours decides who may call what and where the call goes.

`access`, `standing`, `addresses`, `body`, `ledger`, `answers` and the configuration of Envoy are pure: facts in, decisions out. `app` is the service
that Envoy asks, `activity` writes what was seen to the API server, `dataplane` runs Envoy. Knows nothing of the controller; only `cli` imports it.
"""
