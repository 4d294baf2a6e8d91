"""A name or a path to a model that is ready to encode."""
