"""From a Hugging Face Mllama checkpoint to the GGUF pair. No torch, one tensor at a time.

Four pure questions, a file each: what metadata (`metadata`), which names and which file
(`routes`), which rows and columns (`routes`), which storage type (`storage`). `checkpoint` reads,
`writer` writes, `conversion` runs them.
"""
