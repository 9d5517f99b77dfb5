"""What the world is told of an exchange: one trace, a few metrics, one log line. All made from the receipt."""
