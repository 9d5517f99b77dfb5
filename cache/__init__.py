"""Answers kept for later: an exact cache and a semantic one, behind one partition rule.

Both are looked up after the input checks and before dispatch, and store what passed the output checks, still masked.
What a request may share with whom is decided in one place (`key`), and it is part of every key: there is no lookup
that could be given the wrong tenant. A cache that fails is a miss, never a failed request.
"""
