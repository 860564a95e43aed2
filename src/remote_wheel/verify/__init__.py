"""Untrusted bytes become a verified distribution here, and only here. Pure."""
