"""Real servers on loopback for the sources that are not plain HTTP. Each ends with its context."""
