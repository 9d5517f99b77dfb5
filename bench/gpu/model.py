"""A Llama of random weights and a tokenizer made of Python's own library: `python model.py FOLDER --hidden N --layers N`.

Runs with the interpreter that has torch, and imports nothing of this tree. What it says is nonsense; what it costs is what
a model of its size costs. It has no word for the end, so every answer is as long as was asked for.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

WORDS = 4096
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"


def tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    files = [str(path) for path in sorted(Path(os.__file__).parent.glob("*.py"))]
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train(files, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.chat_template = TEMPLATE
    return fast


def model(hidden: int, layers: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(20261201)
    heads = max(1, hidden // 64)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=max(1, heads // 4), max_position_embeddings=16_384,
        bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    made = LlamaForCausalLM(config).to(torch.bfloat16)
    made.generation_config.eos_token_id = None
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--layers", type=int, required=True)
    options = parser.parse_args()
    made = model(options.hidden, options.layers)
    made.save_pretrained(options.folder)
    tokenizer().save_pretrained(options.folder)
    print(sum(weights.numel() for weights in made.parameters()))


if __name__ == "__main__":
    main()
