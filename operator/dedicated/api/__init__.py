"""The contract: what users write, what they read, and the names and reasons in it. Imports only `core`; everybody may import it."""
