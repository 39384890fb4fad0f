"""Artifacts for those who do not have Evenhand: Hugging Face folders with a card."""
