"""Checks that ask somebody else: classifiers, judges, services."""
