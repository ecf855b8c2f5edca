"""Parametric faces drawn by this project: seven expressions, four domains, no real person."""
