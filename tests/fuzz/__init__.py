"""Readers of what comes from elsewhere, fed with anything: the error is ours, or what was read is what is there."""
