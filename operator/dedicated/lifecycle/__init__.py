"""
Pure: what to do next, and what to tell.

`observation` is the frozen snapshot of one endpoint's world, `decide` the ordered policies, `status` what is reported, `revision` what
makes a revision, `manifests`
what must exist. Nothing here knows the time, the network or Kopf.
"""
