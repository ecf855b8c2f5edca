"""What `experiments/benchmark.py` is made of: both sides, the clock, the arithmetic, the report."""
