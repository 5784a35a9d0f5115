"""A session's state in the main checkout, and exactly what was there before."""
