"""Attribute names: OpenTelemetry's GenAI conventions (v1.41, development status) and our own under `tidegate.`.

Names are kept here so that a renaming of the conventions is one change and one test.
"""

from __future__ import annotations

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
CONVERSATION_ID = "gen_ai.conversation.id"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
HTTP_ROUTE = "http.route"

EXCHANGE_ID = "tidegate.exchange.id"
ROUTE = "tidegate.route"
MODEL = "tidegate.model"
SERVED_MODEL = "tidegate.served_model"
OUTCOME = "tidegate.outcome"
ANSWER = "tidegate.answer"
INTENT = "tidegate.intent"
INTENT_SCORE = "tidegate.intent.score"
ACTION = "tidegate.action"
TIER = "tidegate.tier"
TIER_SCORE = "tidegate.tier.score"
LEFT_OUT = "tidegate.left_out"
CACHE = "tidegate.cache"
CACHE_REASON = "tidegate.cache.reason"
CACHE_SIMILARITY = "tidegate.cache.similarity"
GUARDRAILS = "tidegate.guardrails"
ATTEMPTS = "tidegate.attempts"
ATTEMPT_WHY = "tidegate.attempt.why"
ATTEMPT_REVEALED = "tidegate.attempt.revealed"
ATTEMPT_PROVIDER = "tidegate.attempt.provider"
ATTEMPT_COST_USD = "tidegate.attempt.cost_usd"
ATTEMPT_ESTIMATED_USD = "tidegate.attempt.estimated.cost_usd"
ATTEMPT_ESTIMATED_INPUT = "tidegate.attempt.estimated.input_tokens"
ATTEMPT_ESTIMATED_OUTPUT = "tidegate.attempt.estimated.output_tokens"
ATTEMPT_CAUSE = "tidegate.attempt.cause"
ATTEMPT_PICKED = "tidegate.attempt.picked"
UPSTREAM_ID = "tidegate.upstream.request_id"
OVERHEAD_MS = "tidegate.overhead_ms"
COST_USD = "tidegate.cost_usd"
ESTIMATED_USD = "tidegate.estimated.cost_usd"
QUEUED_MS = "tidegate.queued_ms"
PRIORITY = "tidegate.priority"
BEATS = "tidegate.keepalives"
DEGRADED = "tidegate.degraded"
HELD_CHARS = "tidegate.held_chars"
HELD_MS = "tidegate.held_ms"
TENANT = "tidegate.tenant"
KEY = "tidegate.key"
USER = "tidegate.user"

OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
PROVIDERS = {
    "azure": "azure.ai.openai", "azure-deployments": "azure.ai.openai", "bedrock": "aws.bedrock", "gemini": "gcp.gemini",
    "mistral": "mistral_ai", "vertex": "gcp.vertex_ai", "vertex-anthropic": "gcp.vertex_ai", "xai": "x_ai",
}  # fmt: skip
"""Types of providers whose well-known name in the conventions is another than ours. A type without a well-known name
(vllm, llama-cpp ...) is told as it stands, which the conventions allow."""
PATHS = {
    ("openai", "chat"): "/v1/chat/completions",
    ("openai", "completions"): "/v1/completions",
    ("openai", "embeddings"): "/v1/embeddings",
    ("openai", "rerank"): "/v1/rerank",
    ("openai", "images"): "/v1/images/generations",
    ("openai", "moderations"): "/v1/moderations",
    ("anthropic", "chat"): "/v1/messages",
    ("anthropic", "count_tokens"): "/v1/messages/count_tokens",
    ("responses", "chat"): "/v1/responses",
    ("responses", "input_tokens"): "/v1/responses/input_tokens",
    ("openai", "speech"): "/v1/audio/speech",
    ("openai", "transcriptions"): "/v1/audio/transcriptions",
    ("openai", "translations"): "/v1/audio/translations",
    ("openai", "image_edits"): "/v1/images/edits",
    ("openai", "image_variations"): "/v1/images/variations",
    ("openai", "files"): "/v1/files",
    ("openai", "uploads"): "/v1/uploads",
    ("openai", "batches"): "/v1/batches",
    ("gemini", "chat"): "/v1beta/models/{model}:generateContent",
    ("gemini", "count_tokens"): "/v1beta/models/{model}:countTokens",
    ("gemini", "embeddings"): "/v1beta/models/{model}:batchEmbedContents",
}
