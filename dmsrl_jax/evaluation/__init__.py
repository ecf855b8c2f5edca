"""What a trained model is worth: metrics, and their plain text reports."""
