"""Cross-domain facial expression recognition in JAX: losses, models, methods and one trainer."""

__version__ = '0.1.0'
