"""Attacks and harmless texts to send through a running gateway, ways to dress them up, and the judging of what came back.

Data and pure functions only: nothing here is part of serving, and nothing here sends anything."""
