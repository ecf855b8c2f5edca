"""FER+: FER2013's faces with the votes of ten people each."""
