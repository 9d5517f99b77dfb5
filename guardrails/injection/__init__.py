"""Prompt injection and jailbreaks, in tiers: rules for the known phrases and a linear model over n-grams for their
relatives, on all of a text; a sentence encoder with a small network on the worst windows, where the first tier is unsure.

What it is good for, on sources that were not trained on (`train.py` prints the tables, the head file holds the figures):
known jailbreaks and overrides, extraction, personas, text disguised by ciphers or look-alikes. What it does not see:
task-only payloads in documents, harmful asks in stories without a tell, questions that are an attack only because of what
the system prompt says; those need marked provenance, tool permissions and a judge."""
