"""The output side: answers while they come, and as wholes."""
