"""From a YAML file to typed structures: every error found, each with its path, in one go."""
