"""What our GGUF pair promises: keys, tensor names, version, pair id, and how a file is checked.

Shared by the converter and the runtime. Knows no weights' meaning and runs no native code.
"""
