"""What exchanges used and what that cost."""
