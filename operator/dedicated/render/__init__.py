"""
Pure: what is wanted -> Kubernetes manifests.

`workload` (the Deployment of one revision), `service`, `disruption`, `isolation` (what a namespace gets once), `engines` (what each kind of
engine needs),
`platform` (what the installation decides). Knows no cluster: the same inputs give the same bytes.
"""
