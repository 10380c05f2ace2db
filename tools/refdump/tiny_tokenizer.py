"""A complete byte-level BPE tokenizer of 272 entries with a chat template, the same in every folder.

Ids: 0 <pad>, 1 <s>, 2 </s>, 3 <|user|>, 4 <|assistant|>, 5..260 the 256 bytes in GPT-2's order, 261..271 merges.
"""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from files import write_json

SPECIALS = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
MERGES = ["Ġ t", "h e", "Ġ a", "i n", "r e", "o n", "e r", "Ġt he", "Ġ s", "a t", "o r"]
CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXTS = ["", "the cat sat on the mat", " Refund within 14 days.\n", "naïve café — 東京 🙂", "a<|user|>b</s>c"]
CHATS = [[{"role": "user", "content": "Where is the order?"}, {"role": "assistant", "content": "On the way."}]]


def byte_alphabet() -> list[str]:
    """GPT-2's bytes_to_unicode, in byte order."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(b) if b in keep else chr(next(extra)) for b in range(256)]


def save(folder: Path) -> None:
    names = SPECIALS + byte_alphabet() + [m.replace(" ", "") for m in MERGES]
    vocab = {s: i for i, s in enumerate(names)}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m.split(" ")) for m in MERGES]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    tok.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
        "model_max_length": 128, "chat_template": CHAT,
    })


def dump(folder: Path, out: Path) -> None:
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(folder)
    cases = [{"text": t, "ids": tok(t)["input_ids"], "ids_no_special": tok(t, add_special_tokens=False)["input_ids"]}
             for t in TEXTS]
    chats = []
    for messages in CHATS:
        for prompt in (False, True):
            enc = tok.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=True,
                                          return_assistant_tokens_mask=True)
            chats.append({"messages": messages, "add_generation_prompt": prompt,
                          "text": tok.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False),
                          "ids": enc["input_ids"], "mask": enc["assistant_masks"]})
    write_json(out, {"texts": cases, "chats": chats})
