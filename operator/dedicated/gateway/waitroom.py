"""Calls that are held until their endpoint answers."""
