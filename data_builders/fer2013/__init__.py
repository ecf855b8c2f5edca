"""FER2013: 48x48 grey faces from a CSV file of the ICML 2013 challenge."""
