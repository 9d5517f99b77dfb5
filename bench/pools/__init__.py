"""How calls are placed on replicas: policies side by side, in a simulator and on a real fleet of llama.cpp servers."""
