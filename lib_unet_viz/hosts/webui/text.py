"""The tokens of a prompt, as the webui's text encoder reads it.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from typing import Any

from lib_unet_viz.trace import Half


def tokens_of(model: Any, prompt: str, *, half: Half, steps: int) -> list[list[str]]:
    """The tokens of a prompt's AND-subprompts as they are at the last step; a negative prompt has but one."""
    texts = sub_prompts(prompt, steps)[0] if half == "cond" else [_scheduled(prompt, steps)[0]]
    return [token_texts(model, text) for text in texts]


def sub_prompts(prompt: str, steps: int) -> tuple[list[str], bool]:
    """The texts that AND separates, as they are at the last step, and whether any changes before."""
    from modules import prompt_parser

    indexes, texts, _ = prompt_parser.get_multicond_prompt_list([prompt])
    found = [_scheduled(texts[index], steps) for index, _ in indexes[0]]
    return [text for text, _ in found], any(changes for _, changes in found)


def _scheduled(text: str, steps: int) -> tuple[str, bool]:
    """A text with `[a:b:n]` as it is at the last step, and whether it changes before."""
    from modules import prompt_parser

    schedule = prompt_parser.get_learned_conditioning_prompt_schedules([text], steps)[0]
    return schedule[-1][1], len(schedule) > 1


def token_texts(model: Any, text: str) -> list[str]:
    """The vocabulary's strings of a prompt as the webui's text encoder reads it: chunks of 77 with BOS, EOS
    and padding; a textual inversion's name stands for each of its vectors (sd_hijack_clip.py, tokenize_line).
    """
    encoder = text_encoder(model)
    chunks, _ = encoder.tokenize_line(text)
    return [word for chunk in chunks for word in _chunk_texts(encoder, chunk)]


def text_encoder(model: Any) -> Any:
    """The object that tokenises: SD 1 and 2's text encoder, SDXL's first embedder, Forge's engine."""
    for holder in (model, getattr(model, "cond_stage_model", None), getattr(model, "conditioner", None)):
        for name in ("text_processing_engine", "text_processing_engine_l"):
            if hasattr(getattr(holder, name, None), "tokenize_line"):
                return getattr(holder, name)
        if hasattr(holder, "tokenize_line"):
            return holder
        for embedder in getattr(holder, "embedders", ()):
            if hasattr(embedder, "tokenize_line"):
                return embedder
    raise RuntimeError("the loaded model has no text encoder that tells its tokens")


def _chunk_texts(encoder: Any, chunk: Any) -> list[str]:
    texts = _strings(encoder, chunk.tokens)
    for fix in chunk.fixes:
        vectors = getattr(fix.embedding, "vectors", 1)
        for place in range(fix.offset + 1, min(fix.offset + 1 + vectors, len(texts))):
            texts[place] = f"{fix.embedding.name}</w>"
    return texts


def _strings(encoder: Any, ids: list[int]) -> list[str]:
    tokenizer: Any = getattr(encoder, "tokenizer", None)
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        return [str(text) for text in tokenizer.convert_ids_to_tokens(ids)]
    from modules import sd_hijack_open_clip  # SD 2: open_clip's own tokenizer

    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    decoder = sd_hijack_open_clip.tokenizer.decoder
    return [names.get(decoder[token], decoder[token]) for token in ids]
