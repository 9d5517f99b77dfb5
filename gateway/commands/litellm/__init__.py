"""A LiteLLM proxy's `config.yaml` read into our configuration: what there is a counterpart for, and a list of the rest."""
