"""
Pure: facts of a model x accelerators -> a sizing plan, or every rejection with its cause in numbers.

What files and nodes say is read elsewhere and handed in: `model_facts.of_config` and `gguf.of_metadata` make the facts, `size.plan` the plan, and
`discovery.discover` says which classes exist in a cluster. May import `api` and `core` only; `lifecycle`, the shells and the command line use it.
"""
