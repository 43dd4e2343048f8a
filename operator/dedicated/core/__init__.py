"""No domain: quantities, durations, hashes, clocks. Imports nothing of ours; anybody may import it."""
