"""Adapter files: our own folder, PEFT's, AdapterHub's, loralib's, and the model card."""
