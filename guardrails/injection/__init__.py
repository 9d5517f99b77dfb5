"""Prompt injection and jailbreaks: rules for the known phrases, a small linear model for their relatives.

What it is good for, measured (see `train.py`): known jailbreaks and overrides, cheaply, on every request. What it
does not see: task-only payloads in documents and harmful asks wrapped in stories, where any text classifier scores
near zero; those need marked provenance, tool permissions and a judge."""
