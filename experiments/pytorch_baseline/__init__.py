"""DMSRL in PyTorch, written from the method's formulas: what this library is measured against.

It shares no code with `dmsrl_jax` but the readers of prepared corpora, the names of the classes and
the metrics. Needs PyTorch (`pip install -e '.[torch]'`); importing `experiments` does not.
"""
