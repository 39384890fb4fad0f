"""A tiny random model in the form of detoxify's checkpoints."""

import torch

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rude", "kind", "they", "were", ".")


def detoxify_checkpoint(folder):
    """Writes encoder, tokenizer and `tiny.ckpt` with the outputs `toxic` and `insult`; the file's path."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(WORDS), num_labels=2, **sizes))
    with torch.no_grad():  # large enough that texts are told apart
        for weight in model.parameters():
            weight.mul_(10 if weight.dim() == 2 else 1)
    model.save_pretrained(folder)
    made_of = {
        "model_type": str(folder),
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
        "num_classes": 2,
    }
    config = {"arch": {"args": made_of}, "dataset": {"args": {"classes": ["toxic", "insult"]}}}
    torch.save({"config": config, "state_dict": model.state_dict()}, folder / "tiny.ckpt")
    return folder / "tiny.ckpt"
