"""Exports artifacts as Hugging Face folders with a card, for use without Evenhand."""
