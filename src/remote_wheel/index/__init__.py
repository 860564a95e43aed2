"""A project's page on a simple index becomes the candidates of a resolution. Pure."""
