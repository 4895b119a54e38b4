"""Fine-tune BERT-family encoders cheaply, compare the ways honestly, use the tuned encoder."""

__version__ = "0.1.0"
