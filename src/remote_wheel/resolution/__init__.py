"""Requirements become a plan: exact files, each with its hash. Pure; the catalogue it asks is a port."""
