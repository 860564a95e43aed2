"""Bytes from elsewhere: one port, a module for each kind of place."""
