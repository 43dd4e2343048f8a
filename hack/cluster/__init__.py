"""
A real Kubernetes cluster from packages, for tests, the demo and development.

`tools` builds and finds the programs, `controlplane` is etcd and an API server (a test tier of its own), `node` the process inside whose
namespaces a whole node lives, `bare` starts, reuses, heals and ends such a cluster from outside, `slots` keeps several apart and `overview`
lists them. `gpus` and `devices` are GPUs that are not there, `kwok` nodes that are not. `kind` and `foreign` are other people's clusters, and
`context` says which is meant. Run it as `python -m hack.cluster`.
"""
