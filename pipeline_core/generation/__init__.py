"""New preference pairs from language models that take turns: requests, replies, their judgement, and the journal."""
