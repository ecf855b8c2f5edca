"""AFE (Asian Facial Expression): faces in frames of Asian films."""
