"""What stands behind the gateway in the demo and in tests: real llama.cpp servers with model files made on the spot.

gguf       builds model files          files     caches them
llamacpp   one server in a process     fleet     the demo's servers, as providers and models for a config
discover   what else this machine has: API keys, a local Ollama or vLLM, a GGUF file

Nothing here imports the rest of the gateway.
"""
