"""RAF-DB, basic emotions: faces from the web in the wild."""
