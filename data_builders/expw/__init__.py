"""ExpW: faces in whole pictures from the web."""
