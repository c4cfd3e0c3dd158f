"""Adaptive Sample Mining (ASM) and its peers for facial expression recognition with noisy labels."""
