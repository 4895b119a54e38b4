"""Other people's adapter files, read and written.

    peft        adapter_config.json + adapter_model.safetensors of the `peft` library
    adapterhub  adapter_config.json + pytorch_adapter.bin (and a head file) of the `adapters` library
    loralib     the .bin of microsoft/LoRA: a state dict, no config
    card        README.md, the model card

Each reader and writer speaks of a `Method` and of tensors under the names of our own adapter file: relative to the
trunk, the head's with "head." in front. None of them needs the library whose files it handles.
"""
