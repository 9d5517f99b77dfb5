"""Masking: what stands for a value, who gets the original, and how it comes back."""
