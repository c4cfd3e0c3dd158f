"""A cell from data to results."""
