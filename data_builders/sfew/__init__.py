"""SFEW 2.0: stills of films."""
