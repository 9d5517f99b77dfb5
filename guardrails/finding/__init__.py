"""Spans: what a scanner is, and the machines that scanners are made of."""
