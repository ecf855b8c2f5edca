"""Parametric faces drawn by this project: seven expressions, four domains, no person behind them."""
