"""Every kind of check there is, by the name that `use:` knows it by."""

from __future__ import annotations

from collections.abc import Mapping

from guardrails.kind import Kind
from guardrails.kinds import (
    brand,
    burst,
    classifier,
    empty,
    grounded,
    handover,
    injection,
    json_schema,
    judge,
    phrases,
    pii,
    prompt_leak,
    refusal,
    remote,
    repetition,
    secrets,
    tool_schema,
    topic,
    toxicity,
)

KINDS: Mapping[str, Kind] = {
    kind.use: kind
    for kind in (
        pii.KIND,
        secrets.KIND,
        injection.KIND,
        phrases.KIND,
        brand.KIND,
        topic.KIND,
        prompt_leak.KIND,
        json_schema.KIND,
        tool_schema.KIND,
        empty.KIND,
        refusal.KIND,
        repetition.KIND,
        toxicity.KIND,
        burst.KIND,
        handover.KIND,
        grounded.KIND,
        classifier.KIND,
        judge.KIND,
        remote.KIND,
    )
}
