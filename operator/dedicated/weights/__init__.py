"""Pure: which files of a repository an engine needs, and what is known of each."""
