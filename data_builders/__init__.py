"""TensorFlow Datasets builders, one folder per corpus; no TensorFlow needed."""
