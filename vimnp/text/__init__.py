"""Text: to the ids that a language model reads, and back."""
