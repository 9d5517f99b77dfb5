"""Equal replicas behind one provider: which there are, how each is doing, and which is picked for a call.

Knows no HTTP: who probes and scrapes tells the endpoints what it saw; who calls takes a lease and ends it.
"""
