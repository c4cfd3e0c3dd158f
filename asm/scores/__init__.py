"""Scores of finished runs; no network is run here."""
