"""MMI: video clips from neutral to an expression and back."""
