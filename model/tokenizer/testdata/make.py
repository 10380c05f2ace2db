"""Makes the small tokenizers of the tests and what Hugging Face's own library does with them.

Made with tokenizers 0.23.3 (pip install tokenizers==0.23.3); run in this folder as: python make.py
Each NAME.json is a tokenizer.json, NAME.cases.json a list of {text, ids, special, spans, decoded, skipped}: ids without
and with special tokens, spans of the latter in bytes, and the text decoded from it with and without special tokens.
"""
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])

CORPUS = [
    "Thank you for writing to us. We refund any order within thirty days of delivery.",
    "Our refund policy is simple: send the item back, and we'll return the full amount.",
    "The customer isn't sure whether they've paid; I'd check the invoice number 20391 first.",
    "It's 12:45 and the parcel hasn't arrived. Don't worry, we're looking into it.",
    "def total(prices):\n    return sum(p * 2 for p in prices)  # doubled\n\n",
    "für Käufer gilt: Rückgabe in 14 Tagen möglich. Où est ma commande ? Ça marche très bien.",
    "Спасибо за ваш заказ. Мы вернём деньги за тридцать дней.",
    "我们会在三十天内退款。谢谢您的来信。配送时间是两天。",
    "ご注文ありがとうございます。返品は三十日以内です。",
    "😀 great! 👍🏽 ok? e-mail: help@example.com https://example.com/a?b=1&c=2",
    "A  double   space,\ttabs\tand\r\nwindows lines\n\n\nand blank ones.   ",
] * 3

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", "\r\n", " \r\n  x", "a", " a", "a ", "Hello world", " Hello  world ",
    "We're sure it's theirs, I'd say; they'll DON'T you'Ve 'S 's ''s x'lls", "1 12 123 1234 12345 1234567890 1,000.50 v2.0",
    "for (i = 0; i < n; i++) { x[i] += 2; }\n\treturn x;\n", "refund policy refund\npolicy\n\n refund", "naïve café für Straße ŒUVRE",
    "nai\u0308ve cafe\u0301 A\u030a \u1e9b\u0323 ﬁne ① ２ Ⅷ ½ x²", "Спасибо за ЗАКАЗ", "谢谢您的来信 and 退款", "ｆｕｌｌ　ｗｉｄｔｈ", "ﷺ ǅ İstanbul ſ 'ſ K",
    "😀😀 👍🏽 👩‍👩‍👧 🇩🇪", "a\u00a0b\u2003c\u3000d\u200be\ufefff\u0085g", "\u0000\u0001\x7f\x1b[0m", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 नमस्ते مرحبا שלום",
    "x" * 70 + " " + "ab" * 40, "=" * 33 + "\n" + "-" * 17, "   indented\n      more\n   ", "end of text   ", "tab\t\tand  space \t mix",
    "▁under▁score ▁ lower_score _", "<s>a</s>", "a<s> b </s>c", "<s><s></s>", "x <mask> y<mask>z", " <mask>", "word<single>word <single> _<single> 1<single>, <single>",
    "<strip>  left", "right  <strip>", "  <strip>  ", "<norm>x <NORM> a<norm>", "<|end|>\n\nnext", "<|end|>", "<s", "<0x41> <0x0A> <unk>", "...!!!???,,,",
]


def random_texts(seed, n=40):
    rng = random.Random(seed)
    parts = [" ", "  ", "\n", "\t", "\r", "'s", "'LL", "a", "Zz", "é", "e\u0301", "ß", "1", "23", "456", "²", "½", ".", ",!", "—", "中", "文字", "я", "Ж", "😀",
             "\u200d", "\u0301", "\u00a0", "\u3000", "<s>", "</s>", "<mask>", "<single>", "<strip>", "<norm>", "<|end|>", "▁", "_", "refund", " policy", "the"]
    return ["".join(rng.choice(parts) for _ in range(rng.randint(1, 14))) for _ in range(n)]


ADDED = [
    AddedToken("<mask>", lstrip=True, special=True, normalized=False), AddedToken("<single>", single_word=True, normalized=False),
    AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False), AddedToken("<norm>", normalized=True), AddedToken("<|end|>", rstrip=True, special=True, normalized=False),
]


def byte_level(pre, normalizer=None, post=None, ignore_merges=False, size=520):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    if normalizer is not None:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    t.add_tokens(ADDED)
    if post == "bos":
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(t, "<s> $A")])
    elif post is not None:
        t.post_processor = post
    if ignore_merges:
        j = json.loads(t.to_str())
        j["model"]["ignore_merges"] = True
        j["model"]["vocab"]["Ġcustomer"] = len(j["model"]["vocab"]) + len(ADDED) + 5
        t = Tokenizer.from_str(json.dumps(j))
    return t


def template(t, single):
    return processors.TemplateProcessing(single=single, pair=single + " $B", special_tokens=[(s, t.token_to_id(s)) for s in ("<s>", "</s>")])


def sentencepiece(normalizer, pre, decoder, single="<s> $A", byte_fallback=True, fuse_unk=True, size=420):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse_unk, byte_fallback=byte_fallback))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=90)
    t.train_from_iterator(CORPUS, trainer)
    j = json.loads(t.to_str())
    vocab = j["model"]["vocab"]
    if byte_fallback:
        old = vocab
        vocab = {k: i for i, k in enumerate(["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + [k for k in old if k not in ("<unk>", "<s>", "</s>")])}
        for a in j["added_tokens"]:
            a["id"] = vocab[a["content"]]
    for extra in ("▁▁", "▁▁▁▁", "\n"):
        vocab.setdefault(extra, len(vocab))
    j["model"]["vocab"] = vocab
    j["model"]["merges"] += [["▁", "▁"], ["▁▁", "▁▁"]]
    t = Tokenizer.from_str(json.dumps(j))
    t.pre_tokenizer = pre
    t.normalizer = normalizer
    t.decoder = decoder
    t.add_tokens(ADDED)
    t.post_processor = template(t, single)
    return t


def fallback_decoder(strip):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


prefix = lambda: normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
TOKENIZERS = {
    "gpt2": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), post=processors.ByteLevel(trim_offsets=False)),
    "roberta": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), post=processors.RobertaProcessing(("</s>", 1), ("<s>", 0), True, True)),
    "llama3": lambda: byte_level(split(LLAMA3), post="bos", ignore_merges=True),
    "qwen2": lambda: byte_level(split(QWEN2), normalizers.NFC(), processors.ByteLevel(trim_offsets=False)),
    "o200k": lambda: byte_level(split(O200K)),
    "starcoder": lambda: byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
    "falcon": lambda: byte_level(pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])),
    "nfkc": lambda: byte_level(pre_tokenizers.Sequence([pre_tokenizers.Split("-", "merged_with_previous"), pre_tokenizers.Split(".", "merged_with_next"), pre_tokenizers.ByteLevel(add_prefix_space=False)]), normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(left=True, right=False)])),
    "llama2": lambda: sentencepiece(prefix(), None, fallback_decoder(True)),
    "phi3": lambda: sentencepiece(prefix(), None, fallback_decoder(True), "$A </s>"),
    "mistral": lambda: sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), fallback_decoder(True)),
    "gemma": lambda: sentencepiece(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), fallback_decoder(False)),
    "metaspace": lambda: sentencepiece(normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="always"), decoders.Metaspace(prepend_scheme="always"), byte_fallback=False),
    "unfused": lambda: sentencepiece(None, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]), decoders.Metaspace(), byte_fallback=False, fuse_unk=False),
}


def case(t, text):
    e = t.encode(text)
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return {"text": text, "ids": t.encode(text, add_special_tokens=False).ids, "special": e.ids, "spans": [[at[a], at[b]] for a, b in e.offsets],
            "decoded": t.decode(e.ids, skip_special_tokens=False), "skipped": t.decode(e.ids, skip_special_tokens=True)}


for i, (name, make) in enumerate(TOKENIZERS.items()):
    t = make()
    j = json.loads(t.to_str())
    with open(name + ".json", "w") as f:
        json.dump(j, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    t = Tokenizer.from_file(name + ".json")
    cases = [case(t, text) for text in TEXTS + random_texts(i)]
    with open(name + ".cases.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases) + "\n]\n")

# What the trainer makes of the same corpus: compared with Train.
t = Tokenizer(models.BPE())
t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, min_frequency=2, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
model = json.loads(t.to_str())["model"]
with open("trained.json", "w") as f:
    json.dump({"corpus": CORPUS, "vocab": model["vocab"], "merges": model["merges"]}, f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
