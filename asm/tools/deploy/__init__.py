"""Trained networks in use: one module from pixels to probabilities, its files, and photos to read."""
