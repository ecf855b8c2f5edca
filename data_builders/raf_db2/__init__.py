"""RAF-DB 2.0: the source corpus of cross-domain studies, as it circulates."""
