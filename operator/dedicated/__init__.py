"""
`dedicated`: private LLM endpoints on Kubernetes.

The folder tree is the architecture diagram; `lint-imports` keeps it true. From the bottom up: `core` (no domain), `api` (the contract), the pure
layers `render`, `planner`, `diagnosis`, `weights` and `lifecycle`, then `settings`, `telemetry`, `adapters` (the only input and output),
`controller`, `cli`.
"""

__version__ = "0.1.0"
