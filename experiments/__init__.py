"""Command lines: prepare, train, evaluate, predict, tables."""
