"""ml-collections configs; each docstring is a lab note."""
